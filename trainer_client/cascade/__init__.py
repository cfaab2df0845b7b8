"""Plans cascades of judges: which verdicts of a cheap judge stand, so that a better one is asked about the others."""
