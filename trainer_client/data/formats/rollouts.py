"""Knows verl's dumps of rollouts (`trainer.rollout_data_dir`), which hold no rubric: it comes from another file."""

from trainer_client.data.formats.task import Format, Task
from trainer_client.data.records import Raw, RowError


def read(row: Raw) -> Task:
    raise RowError("a dump of verl's rollouts holds no rubric; name the file that was trained on with --rubrics")


FORMAT = Format("dump of verl's rollouts", ("input", "output", "step"), read)
