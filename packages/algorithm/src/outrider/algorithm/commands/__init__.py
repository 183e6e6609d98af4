"""The command `outrider`, its flags and pictures."""
