"""The command `outrider-farm`: runners that dial a gateway."""
