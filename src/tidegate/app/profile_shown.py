"""A workload's baseline by time of day and day of week, from a journal's checkpoint, in a time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from tidegate.app.day_ahead_shown import ComingDay, coming_day
from tidegate.app.explain import row_of
from tidegate.forecast.profile import (
    DAYS,
    PROFILING_SECONDS,
    SLOT_SECONDS,
    SLOTS,
    WEEKS_SEEN_SECONDS,
    Profile,
)
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from numpy.typing import NDArray

    from tidegate.journal.sql.reader import Reader

UNDER: Final = "learner."
"""Where a checkpoint keeps what the profile remembers."""
WEEKDAYS: Final = slice(0, 5)
WEEKEND: Final = slice(5, DAYS)
QUIET_RATIO: Final = 0.25
"""A slot is quiet below this share of the way from the day's lowest to its highest."""
QUIET_SLOTS_MIN: Final = 8
"""Two hours: a shorter lull is no quiet time."""
FLAT_RATIO: Final = 0.15
"""A day whose lowest is within this share of its highest has no peak to speak of."""


UNSEEN_RATIO_MAX: Final = 0.5
"""Above this share of a day not seen nothing is said of its peak."""


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """The highest of some days' usual amounts."""

    days: str
    minute: int
    """Of the day, in the time zone: where the quarter of an hour begins."""
    amount: float
    lowest: float
    flat: bool
    """Whether it is about the same all day."""
    quiet_from_minute: int | None
    """Where the longest quiet time begins; None: there is none."""
    quiet_to_minute: int | None


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What a workload usually needs of one resource; amounts in its base unit."""

    workload: str
    resource: str
    unit: str
    time_seconds: int
    """Of the checkpoint it is read from."""
    timezone: str
    capacity: float | None
    seen_seconds: int
    profiling: bool
    """Too little was seen for it to be relied on."""
    each_day_its_own: bool
    """False: weekdays share one day, and weekends another."""
    slot_seconds: int
    week: tuple[tuple[float | None, ...], ...]
    """(7 days, 96 slots), Monday first, in the time zone; None: not seen yet."""
    peaks: tuple[Peak, ...]
    day: ComingDay | None = None
    """What a path model says of the coming day; None where none is at work."""


def profile_shown(
    reader: Reader, workload: str, resource: Resource, zone: tzinfo = UTC, zone_name: str = "UTC"
) -> Baseline:
    """Return a workload's baseline, its week turned to a time zone as of the checkpoint's time.

    Raises:
        InputError: nobody is called so, the resource is not measured, or no profile is kept yet.
        TidegateError: the journal is damaged.

    """
    manifest = reader.checkpoint()
    if manifest is None or f"{UNDER}usual" not in manifest.arrays:
        raise InputError("the journal keeps no profile yet; let 'tidegate up' run for 100 ticks")
    number = manifest.number
    fleet = reader.fleet_of(number)
    row = row_of(fleet, workload)
    (changes,) = reader.changes(number, number)
    resources = [Resource(code) for code in changes.resources]
    if resource not in resources:
        raise InputError(
            f"the journal knows no {resource.label}; it has {', '.join(one.label for one in resources)}"
        )
    at = resources.index(resource)
    state = reader.state(manifest, under=UNDER)
    seen = _of_one(state, int(fleet.roster.ids[row]), at, workload)
    seen_seconds = int(seen["seen_seconds"][0, 0])
    capacity = float(reader.frames(number, ("capacity",))["capacity"][at, row])
    week = _in_zone(_week(seen), changes.time_seconds, zone) * capacity
    return Baseline(
        workload=workload,
        resource=resource.label,
        unit=resource.unit,
        time_seconds=changes.time_seconds,
        timezone=zone_name,
        capacity=capacity if np.isfinite(capacity) else None,
        seen_seconds=seen_seconds,
        profiling=seen_seconds < PROFILING_SECONDS,
        each_day_its_own=seen_seconds >= WEEKS_SEEN_SECONDS,
        slot_seconds=SLOT_SECONDS,
        week=tuple(tuple(_known(amount) for amount in day) for day in week.tolist()),
        peaks=tuple(
            peak
            for days, which in (("weekdays", WEEKDAYS), ("weekends", WEEKEND))
            if (peak := peak_of(week[which], days)) is not None
        ),
        day=coming_day(reader, manifest, int(fleet.roster.ids[row]), at),
    )


def peak_of(days: NDArray[np.floating[Any]], name: str) -> Peak | None:
    """Return the peak and the quiet time of some days (days, slots); None where most was not seen."""
    day = _mean(days)
    if np.isnan(day).mean() > UNSEEN_RATIO_MAX:
        return None
    highest, lowest = float(np.nanmax(day)), float(np.nanmin(day))
    flat = highest - lowest <= FLAT_RATIO * highest
    quiet = None
    if not flat and not np.isnan(day).any():
        quiet = longest_run(day <= lowest + QUIET_RATIO * (highest - lowest))
    return Peak(
        days=name,
        minute=int(np.nanargmax(day)) * SLOT_SECONDS // 60,
        amount=highest,
        lowest=lowest,
        flat=flat,
        quiet_from_minute=None if quiet is None else quiet[0] * SLOT_SECONDS // 60,
        quiet_to_minute=None if quiet is None else quiet[1] * SLOT_SECONDS // 60,
    )


def longest_run(quiet: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Return where the longest run of quiet slots begins and ends, past midnight too; None: too short."""
    if quiet.all() or not quiet.any():
        return None
    busy = np.flatnonzero(~quiet)
    gaps = np.diff(np.append(busy, busy[0] + quiet.size)) - 1
    longest = int(np.argmax(gaps))
    if gaps[longest] < QUIET_SLOTS_MIN:
        return None
    return (int(busy[longest]) + 1) % quiet.size, int(busy[longest] + 1 + gaps[longest]) % quiet.size


def _mean(days: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the mean day, of those seen."""
    count = (~np.isnan(days)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = np.nansum(days, axis=0, dtype=np.float64) / np.where(
            count > 0, count, np.nan
        )
    return mean


def _of_one(
    state: Mapping[str, NDArray[Any]], identity: int, resource: int, workload: str
) -> dict[str, NDArray[Any]]:
    """Return the profile's memory of one series alone: arrays (..., 1, 1)."""
    rows = np.flatnonzero(state[f"{UNDER}ids"] == identity)
    if rows.size == 0:
        raise InputError(f"nothing is known of '{workload}' yet; let 'tidegate up' run for 100 ticks more")
    row = int(rows[0])
    of_one = {
        name.removeprefix(UNDER): array[..., resource : resource + 1, row : row + 1]
        for name, array in state.items()
        if array.ndim >= 2
    }
    return of_one | {"ids": np.array([identity]), "slot": state[f"{UNDER}slot"]}


def _week(seen: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Return what the profile expects in each slot of the week (days, slots), as shares of capacity."""
    profile = Profile(step_seconds=SLOT_SECONDS)
    profile.restore(seen)
    slots = [profile.usual(slot)[0, 0] for slot in range(DAYS * SLOTS)]
    return np.array(slots, dtype=np.float32).reshape(DAYS, SLOTS)


def _in_zone(week: NDArray[np.float32], time_seconds: int, zone: tzinfo) -> NDArray[np.float32]:
    """Turn a week of UTC (days, slots) by what a zone's clocks were ahead at a time."""
    offset = datetime.fromtimestamp(time_seconds, tz=zone).utcoffset()
    ahead = 0 if offset is None else round(offset.total_seconds() / SLOT_SECONDS)
    return np.roll(week.reshape(-1), ahead).reshape(week.shape)


def _known(amount: float) -> float | None:
    return amount if np.isfinite(amount) else None


__all__ = ["Baseline", "Peak", "longest_run", "peak_of", "profile_shown"]
