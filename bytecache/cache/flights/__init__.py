"""Who runs the function for a key: of simultaneous calls one, in this process and among processes."""
