"""Turns fragments into new weights."""
