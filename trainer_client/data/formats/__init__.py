"""Turns a raw row into the parts of an item, one module for each format; `table` decides which format a row has."""
