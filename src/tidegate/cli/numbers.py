"""How large the numbers may be that people give as options."""

from __future__ import annotations

from typing import Final

from tidegate.model.errors import InputError

SEED_MAX: Final = 10**15
"""Readers of JSON keep whole numbers exact up to about nine times this."""
LEAD_MAX: Final = 100_000


def checked_seed(seed: int | None) -> int | None:
    """Return the seed of an option, unless it is one that no report could hold.

    Raises:
        InputError: it is above `SEED_MAX`.

    """
    if seed is not None and seed > SEED_MAX:
        raise InputError(f"--seed is above {SEED_MAX:,}; give a smaller one")
    return seed
