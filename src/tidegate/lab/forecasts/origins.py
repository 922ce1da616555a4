"""Rolling origins: the moments of a trace from which every model must say what comes.

They lie hours apart in a number that shares no divisor with 24, so that they go round the clock: a model
that is only good at noon is not asked at noon alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count as counted
from math import gcd
from typing import TYPE_CHECKING, Final

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

HISTORY_SECONDS_MIN: Final = 7 * 86_400
"""What the first origin looks back on at least: every hour of the week once."""
HOURS_APART: Final = (7, 5, 1)
"""Tried in this order: coprime with 24, so that 24 origins meet every hour of the day once."""
ORIGINS_MAX: Final = 1_000
HOUR_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """From where models look ahead, and how far."""

    steps: tuple[int, ...]
    """Length of the history each origin sees, rising; the first unseen row of the trace."""
    steps_apart: int
    horizons_steps: tuple[int, ...]
    """Rising. Shorter horizons are the first steps of the longest one's path."""

    @property
    def horizon_steps(self) -> int:
        """The longest horizon."""
        return self.horizons_steps[-1]


def origins_of(ticks: int, step_seconds: int, *, horizons_seconds: Sequence[int], count: int) -> Origins:
    """Place ``count`` origins, the last one the longest horizon before the end of a trace.

    Seven hours apart where the first then has `HISTORY_SECONDS_MIN` of history, else five, else one; as
    near to it as the step allows. All horizons share the origins.

    Raises:
        InputError: a horizon is no multiple of the step, ``count`` is out of range, or the trace is too
            short.

    """
    if not 1 <= count <= ORIGINS_MAX:
        raise InputError(f"--origins {count} is outside 1 to {ORIGINS_MAX}")
    for seconds in horizons_seconds:
        if seconds < step_seconds or seconds % step_seconds:
            raise InputError(f"--horizon {seconds}s must be a multiple of the trace's step, {step_seconds}s")
    horizons = tuple(sorted({seconds // step_seconds for seconds in horizons_seconds}))
    last = ticks - horizons[-1]
    needed = -(-HISTORY_SECONDS_MIN // step_seconds)
    for hours in HOURS_APART:
        apart = max(1, round(hours * HOUR_SECONDS / step_seconds))
        first = last - (count - 1) * apart
        if first >= needed:
            steps = tuple(range(first, last + 1, apart))
            return Origins(steps=steps, steps_apart=apart, horizons_steps=horizons)
    apart = max(1, round(HOURS_APART[-1] * HOUR_SECONDS / step_seconds))
    least = needed + (count - 1) * apart + horizons[-1]
    raise InputError(
        f"the trace spans {_days(ticks * step_seconds)} days; 7 days of history, {count} origins and a "
        f"horizon of {_days(horizons[-1] * step_seconds)} days need {_days(least * step_seconds)}: give a "
        "longer trace, fewer --origins or a shorter --horizon"
    )


def origins_after(
    seen_steps: int, ticks: int, step_seconds: int, *, horizon_steps: int, count_max: int
) -> Origins:
    """Place origins over all of a trace but its first ``seen_steps``, for one horizon.

    They lie at least a horizon apart, so that no sample comes twice, and further where there would be more
    than ``count_max``: then hours apart in a number coprime with 24, as near to it as the step allows.

    Raises:
        InputError: no whole horizon is left after ``seen_steps`` and `HISTORY_SECONDS_MIN` of history.

    """
    first = max(seen_steps, -(-HISTORY_SECONDS_MIN // step_seconds))
    last = ticks - horizon_steps
    if last < first:
        raise InputError(
            f"the trace spans {_days(ticks * step_seconds)} days, and at the earliest after "
            f"{_days(first * step_seconds)} of them can a model look ahead: it has then seen 7 days, and "
            "what comes has not been learned from; give a longer trace"
        )
    going_round = (hours for hours in counted(1) if gcd(hours, 24) == 1)
    spacings = (max(horizon_steps, round(hours * HOUR_SECONDS / step_seconds)) for hours in going_round)
    apart = next(apart for apart in spacings if (last - first) // apart < count_max)
    steps = tuple(range(first, last + 1, apart))
    return Origins(steps=steps, steps_apart=apart, horizons_steps=(horizon_steps,))


def _days(seconds: int) -> str:
    return f"{seconds / 86_400:.3g}"
