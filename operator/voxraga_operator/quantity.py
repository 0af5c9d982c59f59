"""Kubernetes quantities as exact numbers, so that 1024Mi and 1Gi are one value."""

import re
from fractions import Fraction

_FORM = re.compile(
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))(?:(?P<suffix>[KMGTPE]i|[numkMGTPE]?)|[eE](?P<power>[+-]?\d+))"
)

_FACTORS = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{letter: Fraction(1000**power) for power, letter in enumerate("kMGTPE", start=1)},
    **{f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", start=1)},
}

# 10**power is computed exactly: without a bound, a value from a cluster could ask for gigabytes of digits.
_GREATEST_POWER = 30


def parse(value: object) -> Fraction | None:
    """The number a quantity stands for; None where the value is no quantity."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    form = _FORM.fullmatch(str(value).strip())
    if form is None:
        return None
    number = Fraction(form["number"])
    if form["power"] is None:
        return number * _FACTORS[form["suffix"]]
    power = int(form["power"])
    if abs(power) > _GREATEST_POWER:
        return None
    return number * Fraction(10) ** power


def equal(one: object, other: object) -> bool:
    first, second = parse(one), parse(other)
    return first is not None and first == second
