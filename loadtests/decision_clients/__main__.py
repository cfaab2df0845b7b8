"""Asks the service by clients of typed decisions that are not ours: autorubric's grader, and LiteLLM's `decisions()`.

The service is a real process with the bundled judge, and the cases are the miniature's, whose truth is known. The
clients need many packages, so they run in an interpreter of their own:

    python -m venv clients && clients/bin/pip install litellm==1.110.2 'autorubric[typesafe]==1.6.1'
    python -m loadtests.decision_clients clients/bin/python [--cases 20] [--seed 7] [--framing noul]

It prints one JSON object: how many criteria were asked, judged and right, by client.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from miniature.world.cases import evaluation
from testkit.processes import service

_ASKING = Path(__file__).with_name("asking.py")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", help="the interpreter that has the clients")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--framing", choices=("noul", "noul_framed", "choice"), default="noul")
    options = parser.parse_args()
    cases = [evaluation(options.seed, index) for index in range(options.cases)]
    written = [
        {
            "turns": [{"role": role, "content": text} for role, text in case.turns],
            "response": case.response,
            "criteria": [{"text": one.text, "points": one.points} for one in case.criteria],
            "met": list(case.met),
        }
        for case in cases
    ]
    with tempfile.TemporaryDirectory() as folder, service() as running:
        file = Path(folder) / "cases.json"
        file.write_text(json.dumps(written))
        command = [options.python, str(_ASKING), running.url, str(file), options.framing]
        return subprocess.run(command, timeout=1_800, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
