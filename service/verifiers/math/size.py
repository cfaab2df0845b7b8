"""Math size bounds the bits of the numbers that an unevaluated expression would have, without evaluating it.

Guarantees: an expression of numbers that passes `check_size` has no part with more than `MAX_BITS` bits, however its
powers, factorials and binomial coefficients are nested. Integrals, limits and the like are not estimated: the time
limit of a check bounds those.
"""

import math
from typing import Any

import sympy

MAX_BITS = 200_000
"""Numbers of so many bits, 60,000 digits, are computed and compared in milliseconds."""
_MAX_TERMS = 10_000
"""A sum or a product has at most so many terms."""
_MAX_EXPANSION = 5_000
"""A sum that has more than numbers in it is raised to no power that has more terms: it would be multiplied out."""
_MAX_EXPONENT = 1_000
"""A function is raised to no higher power."""
_EXACT_BITS = 4_096
"""Numbers of so many bits are simply computed."""

Bits = tuple[float, float]
"""At most so many bits has the numerator, and so many the denominator."""


class TooLarge(OverflowError):
    """The expression has a part that is too large to be computed. It is an OverflowError because math-verify, as it is
    loaded here, lets that kind pass."""


def check_size(*expressions: Any) -> None:
    """Raises TooLarge."""
    for expression in expressions:
        _bits(expression)


def _bits(expression: Any) -> Bits:
    bits = _estimate(expression)
    if not sum(bits) <= MAX_BITS:
        raise TooLarge
    return bits


def _estimate(expression: Any) -> Bits:
    if isinstance(expression, sympy.Rational):
        return float(abs(expression.p).bit_length()), float(expression.q.bit_length() - 1)
    if isinstance(expression, sympy.Float):
        exponent = abs(int(expression._mpf_[2])) + expression._mpf_[3]
        return float(exponent), float(exponent)
    if isinstance(expression, sympy.MatrixBase):
        return _sum([_bits(one) for one in expression.flat()])
    if isinstance(expression, sympy.Pow | sympy.MatPow):
        return _power(*expression.args)
    if isinstance(expression, sympy.exp):
        return _power(sympy.Integer(3), expression.args[0])
    if isinstance(expression, sympy.factorial):
        return _factorial(_value(expression.args[0]))
    if isinstance(expression, sympy.binomial):
        return _binomial(*expression.args)
    if isinstance(expression, sympy.Sum | sympy.Product):
        return _series(expression)
    parts = [_bits(one) for one in getattr(expression, "args", ())]
    if not parts:
        return 1.0, 0.0
    if isinstance(expression, sympy.Mul | sympy.MatMul):
        return math.fsum(one for one, _ in parts), math.fsum(one for _, one in parts)
    return _sum(parts)


def _sum(parts: list[Bits]) -> Bits:
    below = math.fsum(one for _, one in parts)
    return max((one for one, _ in parts), default=1.0) + below + math.log2(len(parts) + 1), below


def _value(expression: Any) -> float:
    """At most so large is its absolute value."""
    above, below = _bits(expression)
    if above + below <= _EXACT_BITS and getattr(expression, "is_number", False):
        exact = expression.doit()
        if isinstance(exact, sympy.Number) and exact.is_finite:
            return float(min(abs(exact), 1e300))
    # A symbol is taken for a small number: a power of a symbol is not multiplied out.
    return float(2.0 ** min(above, 1000.0))


def _power(base: Any, exponent: Any) -> Bits:
    above, below = _bits(base)
    times = _value(exponent)
    if not (isinstance(base, sympy.Number | sympy.Symbol | sympy.MatrixBase) or _is_rational(base)):
        terms = len(base.args) if getattr(base, "is_Add", False) else 1
        if times > _MAX_EXPONENT or (terms > 1 and _terms(terms, times) > _MAX_EXPANSION):
            raise TooLarge
    if base in (sympy.S.One, sympy.S.NegativeOne, sympy.S.Zero):
        return 1.0, 1.0
    return (max(above, below) * times + 1,) * 2 if _may_be_negative(exponent) else (above * times + 1, below * times)


def _is_rational(base: Any) -> bool:
    """Whether it is made of rational numbers, with no root in it."""
    if base.atoms(sympy.Function) or any(not one.exp.is_Integer for one in base.atoms(sympy.Pow)):
        return False
    return all(isinstance(one, sympy.Rational) for one in base.atoms())


def _terms(addends: int, power: float) -> float:
    """So many terms has a sum that is raised to a power."""
    return float(math.comb(int(power) + addends - 1, addends - 1)) if power <= _MAX_EXPONENT else math.inf


def _may_be_negative(exponent: Any) -> bool:
    return not (isinstance(exponent, sympy.Number) and exponent >= 0)


def _factorial(n: float) -> Bits:
    return (n * math.log2(n + 2) if n < MAX_BITS else math.inf), 0.0


def _binomial(n: Any, k: Any) -> Bits:
    above, below = _value(n), _value(k)
    return min(below, max(0.0, above - below) or below) * math.log2(above + 2) + 1, 0.0


def _series(expression: Any) -> Bits:
    terms = 1.0
    for _, first, last in expression.limits:
        if sympy.oo not in (abs(first), abs(last)):
            terms *= _value(first) + _value(last) + 1
    if terms > _MAX_TERMS:
        raise TooLarge
    above, below = _bits(expression.function)
    return above * terms, below * terms
