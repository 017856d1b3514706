"""What is read, decoded and trained on: traces, files, images, a data set, a network."""
