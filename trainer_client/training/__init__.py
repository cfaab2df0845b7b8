"""`rubricd train`: a run file in, a run folder out."""
