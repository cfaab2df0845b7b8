"""Reads labelled rows, the words of people or rules on criteria, and collects a judge's verdicts on the same rows."""

from trainer_client.labels.judging import Judged, JudgedCriterion, judge_labels
from trainer_client.labels.labelled import LabelledItem, Labels
from trainer_client.labels.reading import read_labels

__all__ = ["Judged", "JudgedCriterion", "LabelledItem", "Labels", "judge_labels", "read_labels"]
