"""Reads rows out of files, one module for each kind of file; `sources` decides which files a path means."""
