"""Lets runners and environments in that dial from elsewhere, and checks what they send."""
