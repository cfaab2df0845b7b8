"""No test gives up on what must happen: a bound that a busy machine can reach is a failure by chance.

Calls that wait are searched for in the syntax of the tests and of testkit. A short bound is right only where the test
is about a timeout.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from testkit.waiting import HUNG_S

ROOT = Path(__file__).resolve().parents[2]
SHORT = {
    "testkit/processes.py": "asks again where it was not answered",
    "testkit/tutorial.py": "asks again where it was not answered",
    "tests/deploy/alerting.py": "asks also where nobody is there to answer",
    "tests/service/engine/test_fake.py": "shows that the fake engine hangs",
    "tests/trainer_client/http/test_connections.py": "makes clients that ask nobody",
}
WAIT = {"communicate", "wait", "acquire", "join", "result"}
"""Methods of processes, threads, events, semaphores and futures, whose only argument or whose `timeout` is a bound."""
OURS = {"httpx.get", "httpx.post", "httpx.stream", "httpx.request", "httpx.put", "httpx.Client", "httpx.AsyncClient"}


def _bound(call: ast.Call) -> ast.expr | None:
    """The seconds that a call may take at most, as they are written."""
    name = ast.unparse(call.func)
    keyword = next((one.value for one in call.keywords if one.arg == "timeout"), None)
    if name == "asyncio.timeout":
        return call.args[0]
    if name == "asyncio.wait_for":
        return call.args[1] if len(call.args) > 1 else keyword
    if name in OURS or name.startswith("subprocess.") or name.endswith((".urlopen", ".create_connection")):
        return keyword
    if isinstance(call.func, ast.Attribute) and call.func.attr in WAIT:
        return keyword or (call.args[0] if len(call.args) == 1 else None)
    return None


def _is_short(bound: ast.expr | None) -> bool:
    seconds = bound.value if isinstance(bound, ast.Constant) else None
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds < HUNG_S


def _is_httpx_own(call: ast.Call) -> bool:
    """A call over a socket that gives up when httpx does, after five seconds."""
    given = {one.arg for one in call.keywords}
    return ast.unparse(call.func) in OURS and not given & {"timeout", "transport"}


def _calls(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and (_is_short(_bound(node)) or _is_httpx_own(node)):
            yield node.lineno, ast.unparse(node)[:100]


def test_no_wait_ends_before_a_slow_machine_is_ready() -> None:
    found = [
        f"{name}:{line}: {call}"
        for folder in ("tests", "testkit")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if (name := str(path.relative_to(ROOT))) not in SHORT
        for line, call in _calls(path.read_text(encoding="utf-8"))
    ]
    assert found == [], "wait with `until`, `wait_until` or `HUNG_S` of testkit/waiting.py"


def test_each_exception_is_one() -> None:
    assert [name for name in SHORT if not list(_calls((ROOT / name).read_text(encoding="utf-8")))] == []


def test_the_search_finds_what_it_should_and_nothing_else() -> None:
    short = ["asyncio.timeout(5)", "asyncio.wait_for(a(), 5)", "subprocess.run(a, timeout=60)", "process.wait(30)"]
    short += ["httpx.get(url)", "httpx.AsyncClient(base_url=url)", "event.wait(timeout=1.5)", "thread.join(3)"]
    right = ["asyncio.timeout(HUNG_S)", "process.wait()", "httpx.get(url, timeout=HUNG_S)", "', '.join(words)"]
    right += ["httpx.AsyncClient(transport=one)", "asyncio.timeout(None)", "asyncio.sleep(1)", "event.wait(240)"]
    assert [text for text in short if not list(_calls(text))] == []
    assert [text for text in right if list(_calls(text))] == []
