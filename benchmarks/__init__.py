"""One script per question; README.md has the answers."""
