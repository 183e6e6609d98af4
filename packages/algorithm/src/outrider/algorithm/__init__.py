"""Configuration, training loops and the command line of Outrider."""
