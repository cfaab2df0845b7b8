"""Keeps verdicts in files to which lines are only added, and checks that nothing in them was changed since."""
