"""Runners elsewhere as one pool that gives fragments: what they are made of, who is up, and those on Ray."""
