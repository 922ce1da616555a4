"""Amounts of bytes as people write them."""

from __future__ import annotations

import re
from typing import Final

from tidegate.model.errors import InputError

_FACTORS: Final = {
    "": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
_BYTES: Final = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*([KMGT]i?|)B?")


def parse_bytes(amount: float | str) -> float:
    """Return bytes of a number, or of a text such as ``256GiB``, ``3.5 GB``, ``25Gb`` (bits) or ``1024``.

    Raises:
        InputError: the text is no amount.

    """
    if isinstance(amount, int | float):
        return float(amount)
    bits = amount.endswith("b")
    matched = _BYTES.fullmatch(amount.strip().removesuffix("b"))
    if matched is None:
        raise InputError(f"{amount!r} is no amount of bytes; write one like 256GiB, 3.5GB or 25Gb (bits)")
    return float(matched[1]) * _FACTORS[matched[2]] / (8 if bits else 1)


__all__ = ["parse_bytes"]
