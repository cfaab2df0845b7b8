"""Numbers as Grafana writes them: three digits and a unit. Pure."""

import math

_TIMES = ((1e-6, "ns", 1e9), (1e-3, "µs", 1e6), (1.0, "ms", 1e3), (60.0, "s", 1.0), (3600.0, "min", 1 / 60))
_RATES = {"cps": " c/s", "reqps": " req/s"}


def shown(value: float, unit: str, decimals: int | None = None) -> str:
    if not math.isfinite(value):
        return "no data"
    if unit == "percentunit":
        return f"{_digits(100 * value, decimals)} %"
    if unit == "s":
        return _time(value, decimals)
    if unit == "bytes":
        return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB"), decimals)
    ending = unit.removeprefix("suffix:") if unit.startswith("suffix:") else _RATES.get(unit, "")
    return _scaled(value, 1000, ("", "K", "Mil", "Bil"), decimals) + ending


def _time(seconds: float, decimals: int | None) -> str:
    if seconds == 0:
        return "0 s"
    for below, name, times in _TIMES:
        if abs(seconds) < below:
            return f"{_digits(seconds * times, decimals)} {name}"
    return f"{_digits(seconds / 3600, decimals)} hours"


def _scaled(value: float, base: int, names: tuple[str, ...], decimals: int | None) -> str:
    place = 0
    while abs(value) >= base and place < len(names) - 1:
        value, place = value / base, place + 1
    return f"{_digits(value, decimals)}{' ' if names[place] else ''}{names[place]}"


def _digits(value: float, decimals: int | None) -> str:
    """So many decimals, or three digits of which zeros at the end say nothing."""
    if decimals is not None:
        return f"{value:.{decimals}f}"
    places = max(0, 2 - (math.floor(math.log10(abs(value))) if value else 0))
    text = f"{value:.{min(places, 3)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
