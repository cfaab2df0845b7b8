"""Ours beside what people use today: each baseline on the same model, on this machine, with the same work, in rounds.

    python -m loadtests.throughput --json compare.json --plot docs/pictures/compare.png

The weights are random, so the speed is real and the verdicts mean nothing. The baselines of a model are all loaded
first and then do their rounds one after another, so that whatever else the machine does falls on all of them; the
ratios are the figures to look at, not the rates. One that fails is reported as failed, with its log's last lines, never
as a number.
"""
