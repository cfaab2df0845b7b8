"""The doctor looks at the machine, the packages, each judge and what the service connects to, and says what to do.

Guarantees: it loads no judge and changes nothing; it prints no key and no password; it calls a finding an error only
where `serve` with the same settings could not start, so that the exit status can be trusted.
"""

import asyncio
import os
import sys
from collections.abc import Iterator

from service.doctor import judges, machine, surroundings
from service.doctor.findings import Finding, as_json, report
from service.engine.devices import find_gpus
from service.http.limits import descriptor_limit
from service.settings import Settings


def doctor(settings: Settings, *, json: bool = False) -> int:
    """Prints what it finds, for a person or as JSON. Exit status: 1 when the service could not start, else 0."""
    findings = list(examine(settings))
    print(as_json(findings) if json else report(findings))
    return 1 if any(finding.level == "error" for finding in findings) else 0


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, in the order in which they are printed."""
    yield machine.check_python(sys.version_info[:3])
    own = judges.settings_of_judges(settings)
    yield machine.check_machine(own, cores=len(os.sched_getaffinity(0)), memory=machine.read_memory())
    yield machine.check_gpu(own, find_gpus())
    yield machine.check_packages(settings, own)
    yield from asyncio.run(judges.check_judges(settings))
    yield asyncio.run(surroundings.check_redis(settings))
    yield surroundings.check_folders(settings)
    yield surroundings.check_port(settings)
    yield surroundings.check_connections(settings, descriptor_limit())
    yield surroundings.check_teams(settings)
