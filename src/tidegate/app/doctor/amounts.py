"""Writes amounts as people read them. Pure."""

from __future__ import annotations


def bytes_text(amount: int) -> str:
    """Return bytes in the largest binary unit that leaves 1 or more, such as 23.5 GiB."""
    value = float(amount)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:,.3g} TiB"


def rate_text(bytes_per_second: float) -> str:
    """Return a link's rate as data sheets do: decimal gigabits or megabits a second."""
    bits = 8 * bytes_per_second
    return f"{bits / 1e9:.3g} Gbit/s" if bits >= 1e9 else f"{bits / 1e6:.3g} Mbit/s"
