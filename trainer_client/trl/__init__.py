"""Trains by scaffolded GRPO in stock TRL. Nothing is imported here: TRL takes seconds, and some modules need none."""
