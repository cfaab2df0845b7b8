"""Tells what a fault of Redis is, and what an operator does about it. Pure.

Guarantees: a kind is one of `KINDS`. What a fault's text says to an operator holds no key, no value and no password.
"""

import re
from dataclasses import dataclass

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

_REMEDIES = {
    "timeout": "it is busy or far away: raise `redis_timeout_s`, or use one that is nearer",
    "connection": "start Redis, or correct `redis_url`",
    "loading": "it reads its data from disk, and is used as soon as it has",
    "auth": "it refuses the user or the password: correct them in `redis_url` (redis://user:password@host)",
    "forbidden": "its user may not do what this service does: let it (redis.md lists the commands and keys)",
    "database": "it has no database of this number: correct the number at the end of `redis_url`",
    "oom": "its memory is full: set its `maxmemory-policy volatile-lru`, or give it more",
    "readonly": "it is a replica, which takes no writes: name its master or a sentinel in `redis_url`",
    "misconf": "it refuses writes, because it cannot save them or has too few replicas: its own log says why",
}
KINDS = (*_REMEDIES, "wrong_type", "other")

_CLOSED = frozenset({"timeout", "connection", "loading", "auth", "database"})
_BY_BEGINNING = (
    ("WRONGTYPE", "wrong_type"),
    ("MISCONF", "misconf"),
    ("NOREPLICAS", "misconf"),
    ("DENIED", "forbidden"),  # protected mode: only its own machine may connect
    ("DB index is out of range", "database"),
    ("invalid DB index", "database"),
    ("SELECT is not allowed in cluster mode", "database"),
)
_IN_SCRIPTS = (
    ("user executing the script can't", "forbidden"),
    ("'maxmemory'", "oom"),
    ("against a read only replica", "readonly"),
    ("MISCONF", "misconf"),
)
"""What a command says that a script ran."""
_COMMAND = re.compile(r"the '([a-z|]{1,40})' command")


@dataclass(frozen=True, slots=True)
class Fault:
    """`closed`: Redis can answer nothing now. `refused`: it answers, and will refuse the like until an operator has
    changed something. A fault that is neither is one command's own."""

    kind: str
    command: str = ""

    def __str__(self) -> str:
        return f"{self.kind}, command {self.command}" if self.command else self.kind

    @property
    def closed(self) -> bool:
        return self.kind in _CLOSED

    @property
    def refused(self) -> bool:
        return self.kind in _REMEDIES and not self.closed

    @property
    def remedy(self) -> str:
        return _REMEDIES.get(self.kind, "see the metric rubricd_redis_faults_total")


def fault_of(error: Exception) -> Fault:
    """`command` is set where Redis names one that this user may not run."""
    kind = _kind(error)
    named = _COMMAND.search(str(error)) if kind == "forbidden" else None
    return Fault(kind, named[1] if named else "")


def _kind(error: Exception) -> str:
    for types, kind in (
        ((TimeoutError, RedisTimeoutError), "timeout"),
        (BusyLoadingError, "loading"),
        (AuthenticationError, "auth"),
        ((RedisConnectionError, RedisClusterException, OSError), "connection"),
        (OutOfMemoryError, "oom"),
        (ReadOnlyError, "readonly"),
        (NoPermissionError, "forbidden"),
    ):
        if isinstance(error, types):
            return _of_cluster(error) if isinstance(error, RedisClusterException) else kind
    if isinstance(error, ResponseError):
        text = str(error)
        for beginning, kind in _BY_BEGINNING:
            if text.startswith(beginning):
                return kind
        for part, kind in _IN_SCRIPTS:
            if part in text:
                return kind
    return "other"


def _of_cluster(error: Exception) -> str:
    """A cluster's client says that no node can be reached, and has the reason as the cause."""
    cause = error.__cause__ or error.__context__
    return _kind(cause) if isinstance(cause, Exception) else "connection"
