"""Environments of several agents: their adapters, and many copies of them as arrays."""
