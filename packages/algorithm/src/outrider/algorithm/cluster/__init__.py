"""A run on a Ray cluster: what it reserves, and where."""
