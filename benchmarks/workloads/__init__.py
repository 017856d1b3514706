"""What is read, decoded and trained on: images, files, traces, and a network."""
