"""Keys: which call of which function a value belongs to."""
