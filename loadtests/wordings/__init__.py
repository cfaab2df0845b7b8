"""Compares the shipped prompts on one judge: a service is asked for every label in every prompt."""
