"""Learners on Ray: their processes, and groups of them."""
