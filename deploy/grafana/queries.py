"""PromQL, said shortly: every selector names the deployment and the replicas that the dashboard's variables choose.

Always true: a rate is over `$__rate_interval`, so that it holds at any zoom and any scrape interval.
"""

REPLICAS = 'job="$job", namespace=~"$namespace", instance=~"$instance"'
JUDGING = 'route!~"/(metrics|healthz|readyz)?"'
"""What people and machines ask to know whether it is fine says nothing about whether it is."""


def of(metric: str, *matchers: str) -> str:
    """`metric` of the chosen replicas."""
    return f"{metric}{{{', '.join((REPLICAS, *matchers))}}}"


def summed(metric: str, *matchers: str, by: str = "") -> str:
    return f"sum{_by(by)}({of(metric, *matchers)})"


def rate(metric: str, *matchers: str, by: str = "") -> str:
    """What a counter grows by in a second, over all replicas."""
    return f"sum{_by(by)}(rate({of(metric, *matchers)}[$__rate_interval]))"


def grown(metric: str, *matchers: str, by: str = "", within: str = "$__rate_interval") -> str:
    """What a counter grew by."""
    return f"sum{_by(by)}(increase({of(metric, *matchers)}[{within}]))"


def quantile(share: float, histogram: str, *matchers: str, by: str = "") -> str:
    """The value that `share` of what was observed does not exceed."""
    grouped = ", ".join(part for part in (by, "le") if part)
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', *matchers, by=grouped)})"


def mean(histogram: str, *matchers: str, by: str = "") -> str:
    return f"{rate(f'{histogram}_sum', *matchers, by=by)} / {rate(f'{histogram}_count', *matchers, by=by)}"


def share(part: str, whole: str) -> str:
    """`part` of `whole`; 0 where there is none of it yet, nothing where there is no whole."""
    return f"({part} or vector(0)) / {whole}"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""
