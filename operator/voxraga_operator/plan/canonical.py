"""Writes values as the API server would store them, so that applying an object twice changes nothing."""

import re
from fractions import Fraction
from math import ceil
from typing import Any

from voxraga_operator import quantity

_DECIMAL = ((6, "E"), (5, "P"), (4, "T"), (3, "G"), (2, "M"), (1, "k"), (0, ""))
_SMALL = ((-1, "m"), (-2, "u"), (-3, "n"))
_BINARY = ((6, "Ei"), (5, "Pi"), (4, "Ti"), (3, "Gi"), (2, "Mi"), (1, "Ki"), (0, ""))
_KIBI = 1024


def compact(fields: dict[str, Any]) -> dict[str, Any]:
    """Without fields that hold nothing: the API server drops them, and would see a difference for ever."""
    return {name: value for name, value in fields.items() if value not in (None, [], {}, ())}


def number(value: float) -> str:
    """A number without a needless fraction: "30", "0.5"."""
    return str(int(value)) if float(value).is_integer() else str(value)


def quantities(given: dict[str, str]) -> dict[str, str]:
    return {name: canonical_quantity(value) for name, value in given.items()}


def canonical_quantity(text: str) -> str:
    """The quantity with the largest suffix that leaves no fraction, as the API server writes it."""
    amount = quantity.parse(text)
    if amount is None:
        return text
    if re.search(r"[eE][+-]?[0-9]", text):
        return text  # the API server leaves an exponent as it was written
    if text.endswith("i") and amount >= _KIBI and amount.denominator == 1:
        return _written(amount, _KIBI, _BINARY)
    smallest = Fraction(ceil(amount * 10**9), 10**9)
    return _written(smallest, 1000, (*_DECIMAL, *_SMALL))


def _written(amount: Fraction, base: int, suffixes: tuple[tuple[int, str], ...]) -> str:
    if amount == 0:
        return "0"
    for power, suffix in suffixes:
        scaled = amount / Fraction(base) ** power
        if scaled.denominator == 1:
            return f"{scaled.numerator}{suffix}"
    raise AssertionError(amount)


def human_bytes(size: int) -> str:
    """A size for people: "9.3 MB"."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:  # noqa: PLR2004 - a thousand of a unit are one of the next
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
