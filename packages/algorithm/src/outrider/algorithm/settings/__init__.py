"""The sections of a configuration, and their values as one types or saves them."""
