"""Trains a policy as a run config describes, into a run folder: `rubricd train`."""
