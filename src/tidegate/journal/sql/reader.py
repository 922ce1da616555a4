"""Reads a journal, while it is written or not: ticks, rows of one workload, the last checkpoint.

Everything answers from a few blobs: the newest tick stored whole, and those after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from tidegate.journal import changes as tick_changes
from tidegate.journal import samples as tick_samples
from tidegate.journal.packing import Packed, unpacked, unsealed
from tidegate.journal.sql.checkpoint import Manifest, manifest_decoded, restored
from tidegate.journal.sql.opening import Location, reading, told
from tidegate.journal.sql.tables import checkpoints, events, fleets, identity, slices, ticks
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.journal.changes import TickChanges
    from tidegate.journal.samples import FleetRecord
    from tidegate.model.snapshot import Snapshot

FLEETS_CACHED: int = 8
SLICES_AT_A_TIME: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something a person should know."""

    time_seconds: int
    kind: str
    sentence: str
    workload: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which ticks there are."""

    first: int
    last: int
    first_seconds: int
    last_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """One workload at one tick."""

    used: NDArray[np.float32]
    """(resources,) base units; NaN where no sample came."""
    pressed: NDArray[np.bool_]
    """(resources,) where it ran short."""


@dataclass(slots=True)
class Reader:
    """One journal, read."""

    engine: sa.Engine
    where: Location
    _fleets: dict[int, FleetRecord] = field(default_factory=dict)

    @classmethod
    def of(cls, where: Location) -> Reader:
        """Open a journal to read.

        Raises:
            InputError: there is none.
            TidegateError: it is damaged, newer, or can't be reached.

        """
        return cls(reading(where), where)

    def identity(self) -> Mapping[str, str]:
        """Return what the journal is of."""
        return dict(self._rows(sa.select(identity.c.name, identity.c.value)))

    def span(self) -> Span | None:
        """Return which ticks there are; None before the first."""
        ends = [
            self._rows(sa.select(ticks.c.number, ticks.c.time_seconds).order_by(order).limit(1))
            for order in (ticks.c.number, ticks.c.number.desc())
        ]
        if not all(ends):
            return None
        (first, first_seconds), (last, last_seconds) = (rows[0] for rows in ends)
        return Span(first=first, last=last, first_seconds=first_seconds, last_seconds=last_seconds)

    def number_at(self, time_seconds: int) -> int:
        """Return the number of the last tick at or before a time.

        Raises:
            InputError: the journal holds none that old.

        """
        found = self._rows(
            sa.select(ticks.c.number)
            .where(ticks.c.time_seconds <= time_seconds)
            .order_by(ticks.c.time_seconds.desc(), ticks.c.number.desc())
            .limit(1)
        )
        if not found:
            raise InputError("the journal holds no tick that old; give a later --at")
        return int(found[0][0])

    def changes(
        self, first: int, last: int, columns: Collection[str] | None = None
    ) -> Generator[TickChanges, None, None]:
        """Return what changed in the ticks of a range, both ends included, oldest first.

        Of the rows only the named columns are there, where some are named.
        """
        wanted = (
            sa.select(ticks.c.changes).where(ticks.c.number.between(first, last)).order_by(ticks.c.number)
        )
        with told(self.where), self.engine.connect() as connection:
            for row in connection.execute(wanted):
                yield tick_changes.decoded(row[0], columns)

    def used(self, first: int, last: int) -> Sequence[tuple[int, int, int, NDArray[np.float32]]]:
        """Return number, time, fleet and use (resources, workloads) of the ticks whose samples are kept."""
        wanted = (
            sa.select(ticks.c.number, ticks.c.time_seconds, ticks.c.fleet_id, ticks.c.samples)
            .where(ticks.c.number.between(first, last), ticks.c.samples.is_not(None))
            .order_by(ticks.c.number)
        )
        return [(row[0], row[1], row[2], tick_samples.used(row[3])) for row in self._rows(wanted)]

    def seen_by(self, first: int, last: int, identity: int) -> dict[int, Seen]:
        """Return what one workload used and where it ran short, by tick, where samples are kept."""
        whole = sa.select(sa.func.max(ticks.c.number)).where(ticks.c.whole, ticks.c.number <= first)
        start = sa.func.coalesce(whole.scalar_subquery(), first)
        wanted = (
            sa.select(ticks.c.number, ticks.c.fleet_id, ticks.c.whole, ticks.c.samples)
            .where(ticks.c.number.between(start, last), ticks.c.samples.is_not(None))
            .order_by(ticks.c.number)
        )
        rows: dict[int, NDArray[np.intp]] = {}
        found: dict[int, Seen] = {}
        pressed: NDArray[np.bool_] | None = None
        for number, fleet_id, is_whole, data in self._rows(wanted):
            if fleet_id not in rows:
                rows[fleet_id] = np.flatnonzero(self.fleet(fleet_id).roster.ids == identity)
            used, pressed = tick_samples.seen_of(data, rows[fleet_id], None if is_whole else pressed)
            if number >= first and rows[fleet_id].size:
                found[number] = Seen(used=used, pressed=pressed[:, rows[fleet_id][0]])
        return found

    def fleet_of(self, number: int) -> FleetRecord:
        """Return who was there at a tick.

        Raises:
            InputError: there is no such tick.

        """
        found = self._rows(sa.select(ticks.c.fleet_id).where(ticks.c.number == number))
        if not found:
            raise InputError(f"the journal holds no tick {number}; it forgot it, or it has not come yet")
        return self.fleet(int(found[0][0]))

    def fleet(self, fleet_id: int) -> FleetRecord:
        """Return a fleet by its number in the journal; the same object each time."""
        if fleet_id not in self._fleets:
            found = self._rows(sa.select(fleets.c.data).where(fleets.c.id == fleet_id))
            if not found:
                raise TidegateError(
                    f"the journal {self.where.name} is damaged: it lacks fleet {fleet_id}; "
                    "restore it from a backup, or move it away"
                )
            data = found[0][0]
            while len(self._fleets) >= FLEETS_CACHED:
                self._fleets.pop(next(iter(self._fleets)))
            self._fleets[fleet_id] = tick_samples.fleet_decoded(data)
        return self._fleets[fleet_id]

    def snapshots(self, first: int, last: int) -> Generator[tuple[int, Snapshot], None, None]:
        """Return the numbers and snapshots of a range of ticks, both ends included, oldest first.

        Raises:
            TidegateError: samples of the range are gone or damaged.

        """
        start = self._whole_before(first)
        wanted = (
            sa.select(ticks.c.number, ticks.c.fleet_id, ticks.c.whole, ticks.c.samples)
            .where(ticks.c.number.between(start, last))
            .order_by(ticks.c.number)
        )
        before: Snapshot | None = None
        with told(self.where), self.engine.connect() as connection:
            for number, fleet_id, whole, data in connection.execute(wanted):
                if data is None:
                    raise TidegateError(
                        f"the samples of tick {number} are no longer kept; ask for a later time"
                    )
                fleet = self.fleet(fleet_id)
                before = tick_samples.decoded(data, fleet, None if whole else before)
                if number >= first:
                    yield number, before

    def first_with_samples(self, since_seconds: int) -> int:
        """Return the first tick from a time on whose samples are kept and can be read.

        Raises:
            InputError: none is.

        """
        wanted = (
            sa.select(ticks.c.number)
            .where(ticks.c.samples.is_not(None), ticks.c.time_seconds >= since_seconds)
            .order_by(ticks.c.number)
            .limit(1)
        )
        found = self._rows(wanted)
        if not found:
            raise InputError("the journal keeps no samples from that time on; ask for an earlier one")
        return int(found[0][0])

    def frames(self, number: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Return the named frames of a tick's snapshot, ``used`` excepted.

        Raises:
            TidegateError: samples it builds on are gone or damaged.

        """
        start = self._whole_before(number)
        wanted = (
            sa.select(ticks.c.samples).where(ticks.c.number.between(start, number)).order_by(ticks.c.number)
        )
        found: dict[str, NDArray[Any]] = {}
        for (data,) in self._rows(wanted):
            if data is None:
                raise TidegateError(f"the samples of tick {number} are no longer kept; ask for a later time")
            found = tick_samples.followed(data, found, names)
        return found

    def last_rows(self, number: int) -> NDArray[np.int64]:
        """Return for each series (resources, workloads) the tick its last row up to a tick is in, or -1."""
        start = self._whole_before(number)
        found = self._rows(sa.select(ticks.c.anchor).where(ticks.c.number == start))
        ago = unpacked(unsealed(found[0][0], Packed)).astype(np.int64)
        last = np.where(ago > start, -1, start - ago)
        for changes in self.changes(start + 1, number, ("resource", "workload")):
            last[changes.rows["resource"], changes.rows["workload"]] = changes.number
        return last

    def checkpoint(self) -> Manifest | None:
        """Return the last whole checkpoint's list of parts; None where there is none."""
        found = self._rows(sa.select(checkpoints.c.manifest).order_by(checkpoints.c.number.desc()).limit(1))
        return manifest_decoded(found[0][0]) if found else None

    def state(self, manifest: Manifest, under: str = "") -> dict[str, NDArray[Any]]:
        """Return a checkpoint's arrays whose names start with ``under``.

        Raises:
            TidegateError: a part is missing or damaged.

        """
        return restored(manifest, self._slices, under=under)

    def events(self, *, last: int, workload: str | None = None) -> Sequence[Event]:
        """Return the last events, oldest first; of one workload where it is named."""
        wanted = sa.select(
            events.c.time_seconds, events.c.kind, events.c.sentence, events.c.workload
        ).order_by(events.c.id.desc())
        if workload is not None:
            wanted = wanted.where(events.c.workload == workload)
        rows = self._rows(wanted.limit(last))
        return [
            Event(time_seconds=row[0], kind=row[1], sentence=row[2], workload=row[3])
            for row in reversed(rows)
        ]

    def close(self) -> None:
        """Let the database go."""
        self.engine.dispose()

    def _whole_before(self, number: int) -> int:
        """Return the last tick stored whole at or before one.

        Raises:
            InputError: there is no such tick.

        """
        found = self._rows(
            sa.select(ticks.c.number)
            .where(ticks.c.whole, ticks.c.number <= number)
            .order_by(ticks.c.number.desc())
            .limit(1)
        )
        if not found:
            raise InputError(f"the journal holds no tick {number}; it forgot it, or it has not come yet")
        return int(found[0][0])

    def _slices(self, digests: set[bytes]) -> Mapping[bytes, bytes]:
        data: dict[bytes, bytes] = {}
        wanted = sorted(digests)
        for start in range(0, len(wanted), SLICES_AT_A_TIME):
            some = wanted[start : start + SLICES_AT_A_TIME]
            rows = self._rows(sa.select(slices.c.digest, slices.c.data).where(slices.c.digest.in_(some)))
            data |= {bytes(row[0]): row[1] for row in rows}
        return data

    def _rows(self, wanted: sa.Select[Any]) -> Sequence[Any]:
        with told(self.where), self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(wanted)]


__all__ = ["Event", "Reader", "Seen", "Span"]
