"""Steps environments and records fragments, without torch and without Ray."""
