"""Math number reads plain numbers, percentages and units, and compares them exactly, without a computer algebra system.

Guarantees: two numbers are equal if their values are. A decimal with six places or more also equals a value that it is
the rounding of. 50% equals 50 and 0.5, because both are written for it; 0.5% is not 0.5.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

_MINUS = str.maketrans(
    {"\u2212": "-", "\ufe63": "-", "\uff0d": "-", "\u2013": "-", "\u00a0": " ", "\u202f": " ", "\u2044": "/"}
    | {chr(0xFF10 + digit): str(digit) for digit in range(10)}
)
_PLAIN = re.compile(
    r"(?P<sign>[+-]?)(?:(?P<whole>\d{1,3}(?:[, ]\d{3})+|\d{1,3}(?:\\,\d{3})+|\d{1,3}(?:\{,\}\d{3})+|\d*)"
    r"(?:\.(?P<places>\d*))?(?:(?:[eE]|\s*(?:\\times|\\cdot|\*|\u00d7|\u00b7|x)\s*10\s*(?:\^|\*\*))\s*\{?(?P<exponent>[+-]?\d{1,4})\}?)?)"
)
_OVER = re.compile(
    r"(?P<sign>[+-]?)(?:(?P<whole>\d+)(?:\s+|(?=\\)))?(?:\\[dtc]?frac\s*(?:\{(?P<a>[+-]?\d+)\}\s*\{(?P<b>[+-]?\d+)\}|(?P<c>\d)\s*(?P<d>\d)|\s+(?P<e>\d)\s*\{(?P<f>\d+)\})|(?P<g>\d+)\s*/\s*(?P<h>\d+))"
)
_HALVES = {"\u00bd": "1/2", "\u00bc": "1/4", "\u00be": "3/4"}
_MAX_DIGITS = 10_000

_LETTERS = ("m", "s", "h", "g")
_DEGREES = re.compile(r"\s*(?:\^\s*\{?\s*\\circ\s*\}?|\u00b0)\s*(?:\\(?:text|mathrm)\{\s*)?(?P<scale>[CF])?\s*\}?\s*$")
_WITH_UNIT = re.compile(
    r"(?P<gap>(?:\\[ ,;!]|\s)*)"
    r"(?:(?<=[\d)}\s])\\(?:text|mathrm|mbox|textrm|mathbf|operatorname)\s*\{\s*(?P<wrapped>[A-Za-z/ .\u00b0]{1,40})\}"
    r"|(?<=[\d}\s])(?P<word>[A-Za-z/]+(?: [a-z]+)?))"
    r"(?P<power>\s*\^\s*\{?[23]\}?|[\u00b2\u00b3])?\s*\.?$"
)

_UNITS: dict[str, str] = {
    name: names.split()[0]
    for names in (
        "m meter meters metre metres",
        "cm centimeter centimeters centimetre centimetres",
        "mm millimeter millimeters",
        "km kilometer kilometers kilometre kilometres",
        "ft feet foot",
        "inch inches",
        "yd yard yards",
        "mi mile miles",
        "kg kilogram kilograms",
        "g gram grams",
        "lb lbs pound pounds",
        "oz ounce ounces",
        "s sec second seconds",
        "min minute minutes",
        "h hr hour hours",
        "day days",
        "week weeks",
        "month months",
        "year years",
        "degree degrees deg \u00b0 \\circ",
        "rad radian radians",
        "usd dollar dollars $",
        "eur euro euros \u20ac",
        "cent cents",
        "l liter liters litre litres",
        "ml milliliter milliliters",
        "mph",
        "km/h kmh kph",
        "m/s",
        "hz hertz",
        "j joule joules",
        "n newton newtons",
        "w watt watts",
        "v volt volts",
        "k kelvin",
        "pa pascal pascals",
    )
    for name in names.split()
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, how many decimal places it was written with, and whether as a percentage; `unit` is canonical, such as
    `m` or `m^2`, or empty."""

    value: Fraction
    places: int = 0
    percent: bool = False
    unit: str = ""


def unit_of(word: str) -> str:
    """The canonical name of a unit; empty for any other word."""
    word = word.strip().strip(".").replace("\u00b2", "^2").replace("\u00b3", "^3").replace("{", "").replace("}", "")
    word = re.sub(r"^(?:square|sq\.?)\s+(\S+)$", r"\1^2", word)
    word = re.sub(r"^(?:cubic|cu\.?)\s+(\S+)$", r"\1^3", word)
    name, _, power = word.partition("^")
    if not power and name[-1:] in ("2", "3"):
        name, power = name[:-1], name[-1]
    known = _UNITS.get(name) or _UNITS.get(name.lower() if len(name) > 1 else "")
    return "" if known is None else f"{known}^{power}" if power else known


def split_unit(text: str) -> tuple[str, str]:
    """The text without the unit that ends it or the currency that begins it, and the unit's canonical name."""
    text = text.strip()
    if (money := re.match(r"([+-]?)(\\?\$|\u20ac|\u00a3)\s*(?=[\d.])", text)) is not None:
        return money[1] + text[money.end() :], {"\u20ac": "eur", "\u00a3": "gbp"}.get(money[2], "usd")
    degrees = _DEGREES.search(text)
    if degrees is not None and degrees.start():
        return text[: degrees.start()], {"C": "celsius", "F": "fahrenheit"}.get(degrees["scale"] or "", "degree")
    end = _WITH_UNIT.search(text)
    if end is None or not end.start():
        return text, ""
    number, power = text[: end.start()], (end["power"] or "").replace(" ", "")
    if end["wrapped"] is not None:  # what `\\text{}` has after a number is its unit, known or not
        return number, unit_of(end["wrapped"].strip() + power)
    word = end["word"]
    unit = unit_of(word + power)
    # A letter right after a number is a variable, and most letters are after a space.
    written = len(word) > 1 or (word in _LETTERS and end["gap"])
    return (number, unit) if unit and written else (text, "")


def read(text: str) -> Quantity | None:
    """None for anything but a number, alone or with a unit or a per cent sign."""
    text = text.translate(_MINUS).strip().strip("$").strip()
    percent = re.search(r"(?:\\?%|\s(?i:percent|per cent|pct)|\\text\{\s*percent\s*\})$", text)
    text, unit = (text[: percent.start()], "") if percent else split_unit(text)
    text = re.sub(r"^\((.*)\)$|^\{([^{},]*)\}$", lambda found: found[1] or found[2] or "", text.strip())
    text = re.sub(r"(\d)\s*([\u00bd\u00bc\u00be])", lambda f: f"{f[1]} {_HALVES[f[2]]}", text)
    text = "".join(_HALVES.get(one, one) for one in text).strip().removesuffix(".")
    text = re.sub(r"^([+-])\s+", r"\1", text)
    if not text or len(text) > _MAX_DIGITS:
        return None
    number = _plain(text) or _over(text)
    return number and Quantity(number.value, number.places, percent is not None, unit)


def _plain(text: str) -> Quantity | None:
    found = _PLAIN.fullmatch(text)
    if found is None or not (found["whole"] or found["places"]):
        return None
    places = found["places"] or ""
    digits = re.sub(r"\D", "", found["whole"] or "") + places
    value = Fraction(int(digits or "0")) * Fraction(10) ** (int(found["exponent"] or 0) - len(places))
    return Quantity(-value if found["sign"] == "-" else value, len(places))


def _over(text: str) -> Quantity | None:
    found = _OVER.fullmatch(text)
    if found is None:
        return None
    above, below = [one for one in found.groups()[2:] if one is not None]
    if int(below) == 0:
        return None
    value = Fraction(int(above), int(below))
    if found["whole"]:
        value += int(found["whole"])
    return Quantity(-value if found["sign"] == "-" else value)


def equal(gold: Quantity, stated: Quantity) -> bool:
    """Whether they are the same number. Units count where both have one."""
    if gold.unit and stated.unit and gold.unit != stated.unit:
        return False
    if gold.percent == stated.percent:
        return _same(gold.value, stated.value, gold.places, stated.places)
    percents, plain = (gold.value, stated.value) if gold.percent else (stated.value, gold.value)
    return plain == percents / 100 or (plain == percents and abs(plain) >= 1)


def _same(gold: Fraction, stated: Fraction, gold_places: int, stated_places: int) -> bool:
    if gold == stated:
        return True
    for value, rounded, places in ((gold, stated, stated_places), (stated, gold, gold_places)):
        # 0.333333 is written for 1/3; 0.0000001 is not 0, and 0.33 is another number.
        if places >= 6 and abs(rounded) * 10**places >= 1000 and abs(value - rounded) * 2 * 10**places <= 1:
            return True
    return False
