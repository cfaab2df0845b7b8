"""Fits calibrations to labelled rows, chooses one, and certifies the calibrated judge. It needs numpy."""
