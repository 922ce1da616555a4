"""Samples of several servers put side by side: one snapshot of them all. Pure functions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tidegate.model.roster import HOST, NO_CARD, SHARES, Places, Roster
from tidegate.model.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.model.resources import Resource
    from tidegate.wire.frames import Greeting, Sample, ServerRoster

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Where one server's workloads stand among all."""

    server: str
    who: ServerRoster
    columns: slice
    """Its workloads."""
    own: NDArray[np.intp]
    """(shared,) rows of its own frames that count: resources the fleet has, too."""
    rows: NDArray[np.intp]
    """(shared,) where these stand among all."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joined:
    """Who there is on all servers; it stays the same object as long as nobody comes or goes."""

    resources: tuple[Resource, ...]
    roster: Roster
    places: Places
    host: NDArray[np.int32]
    settable: NDArray[np.bool_]
    """(resources, workloads) where a server can set a limit."""
    parts: tuple[Part, ...]


def joined(
    servers: Sequence[tuple[Greeting, ServerRoster]],
    *,
    resources: tuple[Resource, ...],
    cards: frozenset[str],
    ids: Callable[[str, NDArray[np.int64]], NDArray[np.int64]] | None = None,
) -> Joined:
    """Put rosters side by side, in the order given; places in ``cards`` are cards.

    ``ids`` makes identifiers among all of a server's own, as `fleet_ids` does.

    Rows are ``resources``: what a server does not measure is unknown, what it measures beside is left out.

    Raises:
        InputError: two workloads have the same identifier, which chance makes once in 2**40 fleets of 1000.

    """
    parts, start = [], 0
    for greeting, who in servers:
        stop = start + len(who.roster)
        shared = [
            (own, resources.index(each)) for own, each in enumerate(greeting.resources) if each in resources
        ]
        own, rows = np.array(shared, dtype=np.intp).reshape(-1, 2).T
        parts.append(Part(server=greeting.server, who=who, columns=slice(start, stop), own=own, rows=rows))
        start = stop
    rosters = [who.roster for _, who in servers]
    ids = fleet_ids if ids is None else ids
    shape = len(resources), start
    settable = np.zeros(shape, dtype=np.bool_)
    for part in parts:
        settable[part.rows, part.columns] = part.who.settable[part.own]
    return Joined(
        resources=resources,
        roster=Roster(
            ids=_together([ids(part.server, part.who.roster.ids) for part in parts], np.dtype(np.int64)),
            names=tuple(name for roster in rosters for name in roster.names),
            violation_rate=_together([roster.violation_rate for roster in rosters], np.dtype(np.float32)),
            priority=_together([roster.priority for roster in rosters], np.dtype(np.uint8)),
            floor=_frame(parts, [roster.floor for roster in rosters], shape, 0.0),
            offloadable_ratio=_frame(parts, [roster.offloadable_ratio for roster in rosters], shape, 0.0),
        ),
        places=_places(resources, [greeting for greeting, _ in servers], parts, cards),
        host=np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.who.roster) for part in parts]),
        settable=settable,
        parts=tuple(parts),
    )


def fleet_ids(server: str, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return identifiers that differ between servers, too, and stay the same over restarts."""
    mark = int.from_bytes(hashlib.blake2b(server.encode(), digest_size=8).digest(), "big") >> 1
    return np.bitwise_xor(ids, np.int64(mark))


def snapshot(
    all_of: Joined,
    samples: Mapping[str, Sample],
    *,
    fresh: frozenset[str],
    in_flight: NDArray[np.float32],
    time_seconds: int,
    step_seconds: int,
) -> Snapshot:
    """Return all servers at one instant; of who is not ``fresh`` nothing is known but what it held.

    ``in_flight`` is (resources, workloads): what was ordered and is not confirmed.
    """
    shape = len(all_of.resources), len(all_of.roster)
    known = [part for part in all_of.parts if part.server in samples]
    grant = np.zeros((SHARES, *shape), dtype=np.float32)
    grant[HOST] = _frame(known, [samples[part.server].grant for part in known], shape, np.nan)
    flying = np.zeros_like(grant)
    flying[HOST] = in_flight
    heard = [part for part in known if part.server in fresh]
    pressed = np.zeros(shape, dtype=np.bool_)
    for part in heard:
        pressed[part.rows, part.columns] = samples[part.server].pressed[part.own]
    used = [samples[part.server].used for part in heard]
    return Snapshot(
        time_seconds=time_seconds,
        step_seconds=step_seconds,
        resources=all_of.resources,
        roster=all_of.roster,
        places=all_of.places,
        host=all_of.host,
        card=np.full(shape[1], NO_CARD, dtype=np.int32),
        used=_frame(heard, used, shape, np.nan),
        capacity=_frame(known, [samples[part.server].capacity for part in known], shape, np.nan),
        pressed=pressed,
        grant=grant,
        in_flight=flying,
    )


def _frame(
    parts: Sequence[Part], frames: Sequence[NDArray[np.float32]], shape: tuple[int, int], unknown: float
) -> NDArray[np.float32]:
    whole = np.full(shape, unknown, dtype=np.float32)
    for part, frame in zip(parts, frames, strict=True):
        whole[part.rows, part.columns] = frame[part.own]
    return whole


def _together(columns: Sequence[NDArray[_Scalar]], dtype: np.dtype[_Scalar]) -> NDArray[_Scalar]:
    return np.concatenate(columns) if columns else np.empty(0, dtype=dtype)


def _places(
    resources: tuple[Resource, ...],
    greetings: Sequence[Greeting],
    parts: Sequence[Part],
    cards: frozenset[str],
) -> Places:
    """Return the servers as places, each linked to every card."""
    allocatable = np.full((len(resources), len(parts)), np.inf)
    for at, (greeting, part) in enumerate(zip(greetings, parts, strict=True)):
        allocatable[part.rows, at] = greeting.allocatable[part.own]
    is_card = np.array([part.server in cards for part in parts], dtype=np.bool_)
    links = [(server, card) for card in np.flatnonzero(is_card) for server in np.flatnonzero(~is_card)]
    ends = np.array(links, dtype=np.int64).reshape(-1, 2)
    return Places(
        names=tuple(part.server for part in parts),
        is_card=is_card,
        allocatable=allocatable,
        worth=np.ones((len(resources), len(parts)), dtype=np.float32),
        link_server=ends[:, 0],
        link_card=ends[:, 1],
        link_bytes_per_second=np.full(len(links), np.inf),
    )
