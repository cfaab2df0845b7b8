"""A small made-up world with a tiny judge, trained here from scratch, so that everything runs for real on a laptop."""
