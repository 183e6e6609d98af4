"""Trains many policies at once: those of one architecture are a stack."""
