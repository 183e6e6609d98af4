"""Learners as a training loop sees them: here, or ranks in other processes."""
