"""The policies of a run with several agents: which there are, who plays whom, how they do; leagues."""
