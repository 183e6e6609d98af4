"""Names of leaves that are none of the observation space's. Free of torch."""

CRITIC_PATH = "critic"
"""Path of what a central critic sees besides the observation; a leaf within that adds its own path."""
