"""Finds in rubrics what a person should look at, and corrects what is mechanical, without judging anything."""
