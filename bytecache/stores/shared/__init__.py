"""One store for all processes of a machine, in mapped files."""
