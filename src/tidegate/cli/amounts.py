"""Amounts as people read them: in the units of `tidegate up`, with three digits."""

from __future__ import annotations

from typing import Final

from tidegate.cli.live_view import UNITS
from tidegate.model.resources import Resource

UNKNOWN: Final = "unknown"


def bare(amount: float | None, resource: Resource, *, of_place: bool = False) -> str:
    """Return an amount without its unit, in that of a workload or of a place; ``-`` where unknown."""
    if amount is None:
        return "-"
    unit = UNITS[resource]
    return _three_digits(amount / (unit.factor if of_place else unit.fine_factor))


def unit(resource: Resource, *, of_place: bool = False) -> str:
    """Return the unit that `bare` leaves out."""
    return UNITS[resource].heading if of_place else UNITS[resource].fine


def amount_text(amount: float | None, resource: Resource) -> str:
    """Return a workload's amount with its unit, such as ``1.59 cores``."""
    return UNKNOWN if amount is None else f"{bare(amount, resource)} {unit(resource)}"


def percent(ratio: float) -> str:
    """Return a share in percent: two digits where it is small, one after the point where it is nearly all."""
    value = 100 * ratio
    if 0 < value < 0.01:
        return "<0.01 %"
    if value < 9.95:
        return f"{value:.2g} %"
    return f"{value:.1f} %" if 99 <= value < 99.95 else f"{value:.0f} %"


def _three_digits(amount: float) -> str:
    if amount == float("inf"):
        return "∞"
    if abs(amount) >= 99.95:
        return f"{amount:,.0f}"
    if abs(amount) >= 9.995:
        return f"{amount:.1f}"
    return "0" if abs(amount) < 0.0005 else f"{amount:.3f}" if abs(amount) < 0.0995 else f"{amount:.2f}"


__all__ = ["UNKNOWN", "amount_text", "bare", "percent", "unit"]
