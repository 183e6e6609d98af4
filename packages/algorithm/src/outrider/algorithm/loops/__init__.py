"""Training loops, runs of them, and what is counted in their iterations."""
