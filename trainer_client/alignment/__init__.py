"""Measures how often a judge prefers the better one of two responses, with and without rubric and reference."""
