"""Self-play: a league of snapshots, its games, and who plays whom."""
