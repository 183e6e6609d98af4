"""A run: the loop repeated until a limit, and who is told of it on the way."""
