"""Lets runners and environments in that dial from elsewhere."""
