"""Training loops, and what is counted in their iterations: who works, who waits, which dial to turn."""
