"""Runners that dial a gateway, and their processes: those of the command `outrider-farm` and of a run."""
