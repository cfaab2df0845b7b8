"""Tests of the spare descriptors: their end is noticed, said once, and answered."""

import logging
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from service.http.descriptors import SpareDescriptors
from testkit.waiting import HUNG_S


@contextmanager
def exhausted() -> Iterator[None]:
    """This process can open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(int(name) for name in os.listdir("/proc/self/fd")) + 8
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in taken:
            os.close(one)


def test_the_last_descriptor_is_noticed_and_spare_ones_are_given_up(caplog: pytest.LogCaptureFixture) -> None:
    spare = SpareDescriptors(4)
    try:
        with caplog.at_level(logging.WARNING, "rubricd"):
            with exhausted():
                for _ in range(3):
                    spare.probe()
                assert spare.exhausted
                opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(4)]
            for one in opened:
                os.close(one)
            spare.probe()
        assert not spare.exhausted
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    finally:
        spare.release()


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    code = (
        "import resource; from service.http.limits import raise_descriptor_limit as up\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 600))\n"
        "print(up(), resource.getrlimit(resource.RLIMIT_NOFILE), up())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HUNG_S, check=True)
    assert done.stdout.split() == ["600", "(600,", "600)", "600"]
