"""Measures how a judge behaves where its verdicts should not change, or should change in a known way."""
