"""The policies of a run with several agents: which there are, what they are made of, who plays whom."""
