"""Keeps rubrics, for each team, under a name and the version that their content gives them: in memory, files, Redis."""
