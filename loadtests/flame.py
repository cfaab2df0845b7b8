"""Where a process spends its CPU time: stacks sampled on a timer that runs only while it works, drawn as a flame graph.

Always true: waiting is not sampled, and only Python frames of the main thread are seen; what C code a frame calls is
counted to the frame.
"""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

Stack = tuple[str, ...]
_EVERY_S = 0.001


@contextmanager
def sampled() -> Iterator[Counter[Stack]]:
    """Counts of stacks, outermost frame first, one sample a millisecond of CPU time."""
    stacks: Counter[Stack] = Counter()

    def take(_: int, frame: FrameType | None) -> None:
        stack = []
        while frame is not None:
            code = frame.f_code
            stack.append(f"{Path(code.co_filename).stem}.{code.co_qualname}")
            frame = frame.f_back
        stacks[tuple(reversed(stack))] += 1

    before = signal.signal(signal.SIGPROF, take)
    signal.setitimer(signal.ITIMER_PROF, _EVERY_S, _EVERY_S)
    try:
        yield stacks
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def own(stacks: Counter[Stack]) -> Counter[str]:
    """Samples by the innermost frame."""
    counts: Counter[str] = Counter()
    for stack, count in stacks.items():
        counts[stack[-1]] += count
    return counts


def draw(stacks: Counter[Stack], file: Path, title: str, least: float = 0.01) -> None:
    """A flame graph: width is the share of samples, depth the stack. Frames under `least` of all are left out."""
    from matplotlib.figure import Figure

    total = sum(stacks.values())
    levels = enumerate(zip(*stacks, strict=False))
    common = next((depth for depth, frames in levels if len(set(frames)) > 1), 0)
    boxes = list(_boxes([(stack[common:], count) for stack, count in stacks.items()], 0.0, 0, total, least))
    deepest = max(depth for _, _, depth, _ in boxes)
    figure = Figure(figsize=(13, 0.23 * (deepest + 3)), layout="constrained")
    axes = figure.subplots()
    for left, width, depth, name in boxes:
        colour = "#d9773f" if not name.startswith(("base_events", "events", "runners")) else "#d8dce3"
        axes.barh(depth, width, left=left, height=0.94, color=colour, edgecolor="white", linewidth=0.5)
        room = int(270 * width)
        label = name if len(name) < room else name[: max(0, room - 1)] + "…"
        if len(label) > 3:
            axes.text(left + 0.001, depth, label, fontsize=6, va="center", clip_on=True)
    axes.set(xlim=(0, 1), xlabel="share of the process's CPU time in Python's main thread", title=title)
    axes.get_yaxis().set_visible(False)
    figure.savefig(file, dpi=110)


def _boxes(
    stacks: list[tuple[Stack, int]], left: float, depth: int, total: int, least: float
) -> Iterator[tuple[float, float, int, str]]:
    children: dict[str, list[tuple[Stack, int]]] = {}
    for stack, count in stacks:
        if stack:
            children.setdefault(stack[0], []).append((stack[1:], count))
    for name, below in sorted(children.items(), key=lambda item: -sum(count for _, count in item[1])):
        width = sum(count for _, count in below) / total
        if width >= least:
            yield left, width, depth, name
            yield from _boxes(below, left, depth + 1, total, least)
        left += width
