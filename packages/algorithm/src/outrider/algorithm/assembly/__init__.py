"""Puts the parts of an algorithm together, and checks first that they fit."""
