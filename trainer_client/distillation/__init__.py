"""Trains a small judge on labels, or on the verdicts of a stronger judge, to answer in one token."""
