"""What learners are made of, as plain values, and what those of a group share out."""
