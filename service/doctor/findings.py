"""A finding of the doctor, and the lines in which findings are printed.

Guarantees: no line has a user or a password of a URL.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal
from urllib.parse import urlsplit

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`remedy` says what to do. Empty where nothing is to be done."""

    subject: str
    level: Level
    text: str
    remedy: str = ""


def report(findings: Sequence[Finding]) -> str:
    """Aligned plain lines, the remedy below its finding, and a last line with the conclusion."""
    width = max(len(finding.subject) for finding in findings)
    lines: list[str] = []
    for finding in findings:
        lines.append(f"{finding.level:<8} {finding.subject:<{width}}  {finding.text}")
        if finding.remedy:
            lines.append(f"{'':<8} {'':<{width}}  -> {finding.remedy}")
    errors = sum(finding.level == "error" for finding in findings)
    conclusion = f"The service cannot start: {errors} error(s)." if errors else "The service can start."
    return "\n".join([*lines, "", conclusion])


def as_json(findings: Sequence[Finding]) -> str:
    """One object: whether the service can start, and the findings."""
    starts = all(finding.level != "error" for finding in findings)
    return json.dumps({"starts": starts, "findings": [asdict(finding) for finding in findings]}, indent=2)


def host_of(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def gib(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"
