"""Finds in rubrics what a person should look at, and fixes what is mechanical, without judging anything."""
