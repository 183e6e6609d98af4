"""Trains one policy: losses, estimates, gradient steps, and the learners of all algorithms."""
