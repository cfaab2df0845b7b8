"""Scaffolded GRPO in stock verl 0.9. Nothing is imported here: only `agent_loop` and `sampler` need verl."""
