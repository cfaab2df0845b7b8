"""Writes rubrics for prompts with a chat model, as the papers do, checked, without repetitions and with provenance."""
