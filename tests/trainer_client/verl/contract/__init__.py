"""Tests against verl's real classes. `test_contract.py` runs them, in a process that sees `.venv/verl`."""
