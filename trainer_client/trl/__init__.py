"""Scaffolded GRPO in stock TRL. Nothing is imported here: TRL takes seconds, and some of this needs none of it."""
