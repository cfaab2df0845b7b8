"""Evaluates a policy: its answers scored, counted and compared, for one seed after another."""
