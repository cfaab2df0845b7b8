"""Finds in rubrics what a person should look at, and mends what is mechanical, without judging anything."""
