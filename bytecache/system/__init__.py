"""What the machine and the interpreter give."""
