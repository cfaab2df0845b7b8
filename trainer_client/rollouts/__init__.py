"""Reads rollouts that a training or `rubricd score` has logged, each with its verdicts."""

from trainer_client.rollouts.logged import LoggedVerdict, Rollout
from trainer_client.rollouts.reader import Log, opened, read

__all__ = ["Log", "LoggedVerdict", "Rollout", "opened", "read"]
