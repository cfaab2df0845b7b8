"""Worsens rubrics on purpose, so that a study can measure what noise in them does."""
