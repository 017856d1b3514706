"""What the machine and the interpreter provide."""
