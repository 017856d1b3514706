"""Several stores as one: reads go through them in order, values go to the lowest that has room."""
