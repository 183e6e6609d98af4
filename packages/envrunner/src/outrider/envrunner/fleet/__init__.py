"""Runners in other processes, of this machine and on Ray, as one pool that gives fragments."""
