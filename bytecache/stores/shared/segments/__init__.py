"""The values of one function in files, from one clear to the next: an arena, and an index of what is in it."""
