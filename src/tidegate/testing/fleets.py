"""Small fleets as columns: snapshots, rosters, places and forecasts with everything left out filled in.

All arrays are read-only, so that whoever writes into what it was given fails at that line.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from tidegate.model.forecast import Forecast
from tidegate.model.resources import Resource
from tidegate.model.roster import CARD, HOST, NO_CARD, SHARES, Places, Roster, one_unbounded_server
from tidegate.model.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

START_SECONDS: Final = 1_704_067_200
"""2024-01-01 00:00 UTC, a Monday."""
STEP_SECONDS: Final = 300

_Record = TypeVar("_Record")


def read_only(record: _Record) -> _Record:
    """Return the record (or array) itself, every array in it, however deep, closed for writing."""
    if isinstance(record, np.ndarray):
        record.setflags(write=False)
    elif is_dataclass(record):
        for field in fields(record):
            read_only(getattr(record, field.name))
    return record


def roster_of(
    workloads: int,
    *,
    resources: int = 1,
    ids: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    violation_rate: ArrayLike = 0.01,
    priority: ArrayLike = 1,
    floor: ArrayLike = 0.0,
    offloadable_ratio: ArrayLike = 0.0,
) -> Roster:
    """Return a roster; a single number stands for everyone's."""
    identity = np.arange(workloads) + 1 if ids is None else np.asarray(ids)
    shape = resources, workloads
    return read_only(
        Roster(
            ids=identity.astype(np.int64),
            names=tuple(f"vm-{number}" for number in identity) if names is None else names,
            violation_rate=_filled(violation_rate, (workloads,)),
            priority=_filled(priority, (workloads,)).astype(np.uint8),
            floor=_filled(floor, shape),
            offloadable_ratio=_filled(offloadable_ratio, shape),
        )
    )


def places_of(
    *,
    servers: ArrayLike,
    cards: ArrayLike = (),
    worth: float = 0.5,
    links: Sequence[tuple[int, int]] | None = None,
) -> Places:
    """Return places: ``servers`` and ``cards`` are what each has, (places,) or (resources, places).

    Servers come first. Every card serves every server unless ``links`` names (server, card) pairs by
    place number. A unit on a card is worth ``worth`` units of a server.
    """
    at_servers = np.array(servers, dtype=np.float64, ndmin=2)
    at_cards = np.array(cards, dtype=np.float64, ndmin=2)
    if at_cards.size == 0:
        at_cards = np.empty((at_servers.shape[0], 0))
    resources, count = at_servers.shape
    total = count + at_cards.shape[1]
    is_card = np.arange(total) >= count
    pairs = links if links is not None else [(s, c) for s in range(count) for c in range(count, total)]
    return read_only(
        Places(
            names=tuple(
                f"card-{place - count + 1}" if is_card[place] else f"server-{place + 1}"
                for place in range(total)
            ),
            is_card=is_card,
            allocatable=np.hstack([at_servers, at_cards]),
            worth=np.where(is_card, np.float32(worth), np.float32(1)) * np.ones((resources, 1), np.float32),
            link_server=np.array([server for server, _ in pairs], dtype=np.int64),
            link_card=np.array([card for _, card in pairs], dtype=np.int64),
            link_bytes_per_second=np.full(len(pairs), 1e9),
        )
    )


def snapshot_of(
    used: ArrayLike,
    *,
    capacity: ArrayLike = 4.0,
    held: ArrayLike | None = None,
    on_card: ArrayLike = 0.0,
    in_flight: ArrayLike = 0.0,
    pressed: ArrayLike = False,
    host: ArrayLike = 0,
    card: ArrayLike = NO_CARD,
    places: Places | None = None,
    roster: Roster | None = None,
    resources: Sequence[Resource] | None = None,
    time_seconds: int = START_SECONDS,
    step_seconds: int = STEP_SECONDS,
) -> Snapshot:
    """Return a snapshot; ``used`` is (workloads,) of one resource or (resources, workloads).

    A single number stands for every series. Left out, everyone holds capacity at the host, on one
    server without limit, and nothing is in flight. ``held`` is the host's share, ``on_card`` the
    card's, in its own units; ``in_flight`` is (2, resources, workloads) or one number.
    """
    frame = np.array(used, dtype=np.float32, ndmin=2)
    shape = frame.shape
    sold = _filled(capacity, shape)
    grant = np.empty((SHARES, *shape), dtype=np.float32)
    grant[HOST] = sold if held is None else held
    grant[CARD] = on_card
    return read_only(
        Snapshot(
            time_seconds=time_seconds,
            step_seconds=step_seconds,
            resources=tuple(Resource)[: shape[0]] if resources is None else tuple(resources),
            roster=roster_of(shape[1], resources=shape[0]) if roster is None else roster,
            places=one_unbounded_server(shape[0]) if places is None else places,
            host=_filled(host, shape[1:]).astype(np.int32),
            card=_filled(card, shape[1:]).astype(np.int32),
            used=frame.copy(),
            capacity=sold,
            pressed=np.broadcast_to(np.asarray(pressed, dtype=np.bool_), shape).copy(),
            grant=grant,
            in_flight=_filled(in_flight, grant.shape),
        )
    )


def forecast_of(snapshot: Snapshot, *quantiles: ArrayLike, levels: Sequence[float] = (0.99,)) -> Forecast:
    """Return a forecast trusted by everyone; one frame (or number, or row) of quantiles per level."""
    shape = snapshot.used.shape
    stacked = np.stack([_filled(quantile, shape) for quantile in quantiles])
    return read_only(
        Forecast(
            time_seconds=snapshot.time_seconds,
            lead_seconds=snapshot.step_seconds,
            levels=np.array(levels, dtype=np.float32),
            quantiles=stacked,
            models=("scripted",),
            model=np.zeros(shape, dtype=np.uint8),
            skill=np.full(shape, 0.5, dtype=np.float32),
            coverage=np.full(shape, 0.99, dtype=np.float32),
            profiling=np.isnan(stacked[-1]),
        )
    )


def _filled(values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.broadcast_to(np.asarray(values, dtype=np.float32), shape).copy()
