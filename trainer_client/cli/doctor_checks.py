"""Checks what stands between this machine and a judge service, one thing after another.

Guarantees: a finding that is not in order says what to do. No finding has the key, or a user or password of a URL. What
could not be looked at, because something before it failed, is absent; nothing is said to be in order unseen.
"""

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.request import getproxies, proxy_bypass

import httpx
from pydantic import ValidationError

from trainer_client import wire
from trainer_client.http.one_judge import judge_path

Level = Literal["ok", "warning", "error"]
SKEW_S = 5.0
"""Clocks may differ by so much: the service's has a resolution of a second, and its answer takes a while."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Finding:
    """`advice` says what to do; empty where nothing is to be done."""

    check: str
    level: Level
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is examined. `key_from` names where the key is from; `client` is this package's version; `judge` is the name
    of one of several judges."""

    url: httpx.URL
    key: str | None
    key_from: str
    client: str | None
    timeout_s: float = 10.0
    judge: str | None = None


def examine(asked: Asked, transport: httpx.BaseTransport | None = None) -> Iterator[Finding]:
    """The findings in the order in which they are printed; after what stops a request nothing more is asked."""
    yield from _proxies(asked)
    yield from _transport_security(asked)
    with httpx.Client(timeout=asked.timeout_s, transport=transport) as client:
        try:
            sent = datetime.now(UTC)
            alive = client.get(_at(asked.url, "/healthz"))
            received = datetime.now(UTC)
        except httpx.HTTPError as error:
            yield _unreachable(asked, error)
            return
        yield _reached(alive, received - sent)
        if not _is_ours(alive):
            return
        yield from _clock(alive, sent, received)
        yield _versions(asked, alive)
        try:
            ready = client.get(_at(asked.url, "/readyz"))
            headers = {} if asked.key is None else {"Authorization": f"Bearer {asked.key}"}
            judge = client.get(_at(asked.url, judge_path(asked.judge)), headers=headers)
        except httpx.HTTPError as error:
            yield _unreachable(asked, error)
            return
    yield _readiness(ready)
    yield _key(asked, judge)
    if judge.status_code == 422:
        yield Finding("judge", "error", _detail(judge), "name another one by --judge, or none for the first")
    if judge.status_code == 200:
        yield from _judge(judge)


def _at(url: httpx.URL, path: str) -> httpx.URL:
    return url.copy_with(raw_path=url.raw_path.rstrip(b"/") + path.encode())


def _proxies(asked: Asked) -> Iterator[Finding]:
    """httpx takes the proxies of the environment, as the client does."""
    proxies: Mapping[str, str] = getproxies()
    found = proxies.get(asked.url.scheme) or proxies.get("all")
    if not found or proxy_bypass(asked.url.host):
        return
    host = httpx.URL(found).host or "a proxy"
    if asked.url.host in LOOPBACK:
        advice = f"set NO_PROXY={asked.url.host}: a proxy cannot reach the loopback of this machine"
        yield Finding("proxy", "warning", f"requests to {asked.url.host} go through {host}", advice)
    else:
        advice = f"if it cannot reach the service, set NO_PROXY={asked.url.host}"
        yield Finding("proxy", "ok", f"requests go through {host}, from the environment; {advice}")


def _transport_security(asked: Asked) -> Iterator[Finding]:
    if asked.url.scheme == "https" or asked.url.host in LOOPBACK:
        return
    what = "the key and all texts" if asked.key else "all texts"
    yield Finding(
        "tls", "warning", f"{what} go over the network in the clear", "use an https:// address of the service"
    )


def _unreachable(asked: Asked, error: httpx.HTTPError) -> Finding:
    where = f"{asked.url.host}:{asked.url.port or (443 if asked.url.scheme == 'https' else 80)}"
    causes = _causes(error)
    said = " ".join(str(cause) for cause in causes).lower()
    if any(isinstance(cause, ssl.SSLError) for cause in causes) or "ssl" in said or "certificate" in said:
        if "wrong version number" in said or "record layer" in said:
            return Finding("tls", "error", f"{where} does not speak TLS", "use http:// or the port of the TLS proxy")
        advice = "point SSL_CERT_FILE to the authority that signed the service's certificate, or renew that"
        return Finding("tls", "error", f"the certificate of {where} is not accepted: {_short(causes[-1])}", advice)
    if isinstance(error, httpx.TimeoutException):
        advice = "look for a firewall or a network policy between here and there, and whether the process hangs"
        return Finding("reach", "error", f"{where} did not answer within {asked.timeout_s:g} s", advice)
    if "name or service not known" in said or "getaddrinfo" in said or "name resolution" in said:
        advice = "check the spelling of --url, and whether this machine's DNS knows the name"
        return Finding("reach", "error", f"the name {asked.url.host} is not known", advice)
    advice = "start the service (`make serve`), or give its address with --url"
    return Finding("reach", "error", f"nothing answers at {where}: {_short(causes[-1])}", advice)


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = [error]
    while (below := found[-1].__cause__ or found[-1].__context__) is not None and len(found) < 8:
        found.append(below)
    return found


def _short(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:160]


def _is_ours(alive: httpx.Response) -> bool:
    """Whether this is the answer of a rubricd, dead or alive, and no page of a proxy or of another server."""
    try:
        body = alive.json()
    except ValueError:
        return False
    return isinstance(body, dict) and (
        body.get("status") == "alive" or str(body.get("type", "")).startswith("urn:rubricd:")
    )


def _reached(alive: httpx.Response, took: timedelta) -> Finding:
    if not _is_ours(alive):
        advice = "check the port and the path of --url: another server, or a proxy without a replica, answers there"
        return Finding("reach", "error", f"GET /healthz answered {alive.status_code}, and not as rubricd does", advice)
    if alive.status_code != 200:
        return Finding("reach", "error", "the service runs, and its judge is dead", "restart the service")
    return Finding("reach", "ok", f"the service answered in {took.total_seconds() * 1000:.0f} ms")


def _clock(alive: httpx.Response, sent: datetime, received: datetime) -> Iterator[Finding]:
    """Its answer is from between the two times of ours. Nothing is said where it has no date."""
    try:
        theirs = parsedate_to_datetime(alive.headers["date"])
    except (KeyError, ValueError):
        return
    ahead = (theirs - received).total_seconds()
    behind = (sent - theirs).total_seconds()
    skew = max(ahead, behind, 0.0)
    if skew <= SKEW_S:
        yield Finding("clock", "ok", f"this machine and the service agree within {SKEW_S:g} s")
        return
    which = "ahead of" if ahead > 0 else "behind"
    advice = "set both clocks by NTP: logs and traces cannot be matched, and certificates may look expired"
    yield Finding("clock", "warning", f"the service's clock is {skew:.0f} s {which} this machine's", advice)


def _versions(asked: Asked, alive: httpx.Response) -> Finding:
    theirs, ours = alive.json().get("version"), asked.client
    if theirs is None:
        return Finding("versions", "ok", f"client {ours or 'not installed'}; the service does not say its version")
    if theirs == ours:
        return Finding("versions", "ok", f"client and service {ours}")
    advice = "read CHANGELOG.md between the two, and upgrade the service before its clients"
    return Finding("versions", "warning", f"client {ours or 'not installed'}, service {theirs}", advice)


def _readiness(ready: httpx.Response) -> Finding:
    if ready.status_code == 200:
        return Finding("ready", "ok", "a request would be judged now")
    return Finding("ready", "error", f"it does not judge now: {_detail(ready)}", "wait, or look into the service's log")


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"


def _key(asked: Asked, judge: httpx.Response) -> Finding:
    match judge.status_code:
        case 200 | 422:  # 422: it does not know the judge that is named
            return Finding("key", "ok", "accepted" if asked.key else "none was sent, and none is needed")
        case 401 if asked.key is None:
            return Finding("key", "error", "the service wants a key", f"put your team's key into {asked.key_from}")
        case 401:
            advice = f"ask the operator for a new one, and put it into {asked.key_from}"
            return Finding("key", "error", f"the key in {asked.key_from} is not known to the service", advice)
        case 403:
            return Finding("key", "error", f"refused: {_detail(judge)}", "ask the operator what this team may do")
    advice = "try again in a while" if judge.status_code in (429, 503) else "look into the service's log"
    return Finding("key", "error", f"GET /v1/judge answered {judge.status_code}: {_detail(judge)}", advice)


def _judge(answer: httpx.Response) -> Iterator[Finding]:
    try:
        info = wire.JudgeInfo.model_validate_json(answer.content).whole()
    except ValidationError:
        advice = "use a client and a service of the same version"
        yield Finding("judge", "error", "the service's description of its judge cannot be read", advice)
        return
    named = "" if info.name is None else f"`{info.name}`, "
    yield Finding("judge", "ok", f"{named}{info.model} on {info.engine}, fingerprint {info.fingerprint}")
    own = next((one for one in info.judges if one.fingerprint == info.fingerprint), None)
    if info.toy:
        advice = "serve another judge before you believe a verdict: docs/guide/choosing-a-judge.md"
        yield Finding("trust", "warning", "the judge is a toy: its verdicts mean nothing outside of its world", advice)
    elif own is None or own.trust is None:
        yield Finding("trust", "warning", "the service does not say how far its judge can be trusted",
                      "upgrade the service, or measure the judge with `rubricd agree`")  # fmt: skip
    elif own.trust == "proven":
        yield Finding("trust", "ok", "proven by its exam; measure it on your task with `rubricd agree`")
    else:
        advice = "measure it with `rubricd agree`, or serve a stronger one: docs/guide/choosing-a-judge.md"
        yield Finding("trust", "warning", f"{own.trust}: in its exam it did no better than chance can", advice)
