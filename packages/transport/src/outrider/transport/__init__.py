"""How messages move between the parts of Outrider."""
