"""Reads and builds pairs of responses of which one is known to be better."""
