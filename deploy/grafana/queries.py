"""PromQL is built here; every selector has the deployment and the replicas that the dashboard's variables choose.

Guarantees: a rate is over `$__rate_interval`, so that it is right at any zoom and any scrape interval.
"""

REPLICAS = 'job="$job", namespace=~"$namespace", instance=~"$instance"'
JUDGING = 'route!~"/(metrics|healthz|readyz)?"'
"""Health checks and scrapes are left out: they say nothing about how callers are served."""


def select(metric: str, *matchers: str) -> str:
    """`metric` of the chosen replicas."""
    return f"{metric}{{{', '.join((REPLICAS, *matchers))}}}"


def total(metric: str, *matchers: str, by: str = "") -> str:
    """The sum of a gauge."""
    return f"sum{_by(by)}({select(metric, *matchers)})"


def rate(metric: str, *matchers: str, by: str = "") -> str:
    """The growth of a counter per second, over all replicas."""
    return f"sum{_by(by)}(rate({select(metric, *matchers)}[$__rate_interval]))"


def increase(metric: str, *matchers: str, by: str = "", within: str = "$__rate_interval") -> str:
    """The growth of a counter, over all replicas."""
    return f"sum{_by(by)}(increase({select(metric, *matchers)}[{within}]))"


def quantile(q: float, histogram: str, *matchers: str, by: str = "") -> str:
    """The value that a fraction `q` of the observations does not exceed."""
    grouped = ", ".join(part for part in (by, "le") if part)
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', *matchers, by=grouped)})"


def mean(histogram: str, *matchers: str, by: str = "") -> str:
    """The mean of the observations."""
    return f"{rate(f'{histogram}_sum', *matchers, by=by)} / {rate(f'{histogram}_count', *matchers, by=by)}"


def ratio(part: str, whole: str) -> str:
    """`part` / `whole`: 0 where `part` has no series, and no series where `whole` has none."""
    return f"({part} or vector(0)) / {whole}"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""
