"""What a tick saw, so that it can be seen again: snapshots as what changed since the one before.

A restart shows the stages the samples they had seen since their memory was last saved; an explanation
reads what was used and held. The fleet itself (who is there, and where) is stored once, until it changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from tidegate.journal.packing import (
    Frames,
    Packed,
    changes_between,
    entries,
    packed,
    sealed,
    unpacked,
    unsealed,
)
from tidegate.model.errors import TidegateError
from tidegate.model.resources import Resource
from tidegate.model.roster import Places, Roster
from tidegate.model.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

FRAMES: Final = ("used", "capacity", "pressed", "grant", "in_flight", "host", "card")
"""What changes between ticks of an unchanged fleet."""


class _Samples(msgspec.Struct, frozen=True):
    time_seconds: int
    step_seconds: int
    resources: list[int]
    frames: Frames


class _Fleet(msgspec.Struct, frozen=True):
    names: list[str]
    roster: Frames
    place_names: list[str]
    places: Frames


_ROSTER: Final = ("ids", "violation_rate", "priority", "floor", "offloadable_ratio")
_PLACES: Final = (
    "is_card",
    "allocatable",
    "worth",
    "link_server",
    "link_card",
    "link_bytes_per_second",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FleetRecord:
    """Who is in the fleet, and where they may be."""

    roster: Roster
    places: Places


def encoded(snapshot: Snapshot, before: Snapshot | None) -> bytes:
    """Return a snapshot as what changed since ``before``; whole, and read alone, where that is None.

    Use changes everywhere: it is always whole, so that it can be read without what came before.
    """
    known = None if before is None else {name: getattr(before, name) for name in FRAMES if name != "used"}
    frames = changes_between({name: getattr(snapshot, name) for name in FRAMES}, known)
    return sealed(
        _Samples(
            time_seconds=snapshot.time_seconds,
            step_seconds=snapshot.step_seconds,
            resources=[int(resource) for resource in snapshot.resources],
            frames=frames,
        )
    )


def decoded(data: bytes, fleet: FleetRecord, before: Snapshot | None) -> Snapshot:
    """Return the snapshot that was encoded, with what was ``before`` it.

    Raises:
        TidegateError: the blob is damaged, or what was before is missing.

    """
    samples = unsealed(data, _Samples)
    values: dict[str, NDArray[Any]] = {}
    for name in FRAMES:
        last = None if before is None else getattr(before, name)
        if name in samples.frames:
            values[name] = unpacked(samples.frames[name], last)
        elif last is None:
            raise TidegateError("a journalled tick's beginning is missing; restore the journal from a backup")
        else:
            values[name] = last
    return Snapshot(
        time_seconds=samples.time_seconds,
        step_seconds=samples.step_seconds,
        resources=tuple(Resource(number) for number in samples.resources),
        roster=fleet.roster,
        places=fleet.places,
        **values,
    )


def used(data: bytes) -> NDArray[np.float32]:
    """Return what was used (resources, workloads), without what came before.

    Raises:
        TidegateError: the blob is damaged.

    """
    return unpacked(unsealed(data, _Samples).frames["used"])


def seen_of(
    data: bytes, workload: NDArray[np.intp], pressed_before: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return what one workload used, and where anyone ran short (resources, workloads).

    ``workload`` is its row, of shape (1,), or empty where it was not there; what it used is (resources,) or
    empty. Where anyone ran short may be stored as what changed since the tick before.

    Raises:
        TidegateError: the blob is damaged, or what was before is missing.

    """
    frames = unsealed(data, _Samples).frames
    pressed = unpacked(frames["pressed"], pressed_before) if "pressed" in frames else pressed_before
    if pressed is None:
        raise TidegateError("a journalled tick's beginning is missing; restore the journal from a backup")
    resources, workloads = frames["used"].shape
    at = (np.arange(resources)[:, None] * workloads + workload).reshape(-1)
    return entries(frames["used"], at), pressed


def followed(
    data: bytes, before: Mapping[str, NDArray[Any]], names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Return the named frames after a tick, from those before it; cheaper than the whole snapshot.

    Raises:
        TidegateError: the blob is damaged, or what was before is missing.

    """
    frames = unsealed(data, _Samples).frames
    return {
        name: unpacked(frames[name], before.get(name)) if name in frames else before[name] for name in names
    }


def fleet_encoded(fleet: FleetRecord) -> bytes:
    """Return the blob of a fleet."""
    roster, places = fleet.roster, fleet.places
    return sealed(
        _Fleet(
            names=list(roster.names),
            roster={name: packed(getattr(roster, name)) for name in _ROSTER},
            place_names=list(places.names),
            places={name: packed(getattr(places, name)) for name in _PLACES},
        )
    )


def fleet_decoded(data: bytes) -> FleetRecord:
    """Return the fleet of a blob.

    Raises:
        TidegateError: the blob is damaged.

    """
    blob = unsealed(data, _Fleet)
    return FleetRecord(
        roster=Roster(names=tuple(blob.names), **_all(blob.roster)),
        places=Places(names=tuple(blob.place_names), **_all(blob.places)),
    )


def _all(frames: Mapping[str, Packed]) -> dict[str, Any]:
    return {name: unpacked(frame) for name, frame in frames.items()}


__all__ = [
    "FleetRecord",
    "decoded",
    "encoded",
    "fleet_decoded",
    "fleet_encoded",
    "followed",
    "seen_of",
    "used",
]
