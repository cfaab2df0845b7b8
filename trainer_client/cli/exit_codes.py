"""Lists what each exit code of the command `rubricd` means, for its documentation and its tests."""

from collections.abc import Mapping

MEANINGS: Mapping[int, str] = {
    0: "Done.",
    1: "Done, with a finding: what was found is on the screen and in the files. Each command's own meaning is below.",
    2: "Wrong use, a file that cannot be read, or a service that refuses. The message says what to change.",
    3: "An alarm about its rewards ended a training.",
    130: "Interrupted by Ctrl+C. What was finished is kept, and commands with `--resume` go on from there.",
}

FINDINGS: Mapping[str, str] = {
    "score": "a response has no score",
    "ledger": "the ledger is not as it was written",
    "rubrics": "the service refused",
    "rescore": "the judge failed on a part of it, or no rollout has a score",
    "lint": "a rubric has a finding that `--fail-on` names",
    "perturb": "a criterion could not be paraphrased and is as it was",
    "generate": "a row has no rubric",
    "train": "the training ended before its end",
    "watch": "an alarm, a finding, or nothing was judged",
    "agree": "a figure is beyond a limit",
    "audit": "a check failed",
    "cascade": "nothing can be promised that saves anything",
    "evaluate": "something has no value",
    "doctor": "a check failed",
}
"""What exit code 1 means of each command that has it."""
