"""Rubrics that change while a policy is trained on them. Everything but `proposer` and `journal` is pure."""
