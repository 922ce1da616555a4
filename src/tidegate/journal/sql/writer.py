"""Writes ticks: each in one transaction, with a piece of the checkpoint under way.

Every `ANCHOR_TICKS` a tick is stored whole, so that it can be read alone, together with an anchor: for
each series the number of the tick its last row is in. Whoever looks for a row reads one anchor and the
few ticks after it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import sqlalchemy as sa

from tidegate.journal import changes as tick_changes
from tidegate.journal import samples as tick_samples
from tidegate.journal.changes import Changes
from tidegate.journal.packing import packed, sealed
from tidegate.journal.samples import FleetRecord
from tidegate.journal.sql import tables
from tidegate.journal.sql.alone import TickRow, alone
from tidegate.journal.sql.checkpoint import Saving, manifest_decoded
from tidegate.journal.sql.controls import Controls
from tidegate.journal.sql.identity import require_identity
from tidegate.journal.sql.opening import (
    PAGE_BYTES,
    WAL_PAGES_MAX,
    WAL_RATIO,
    Location,
    looking,
    told,
    writing,
)
from tidegate.journal.sql.retention import Retention, prune
from tidegate.journal.sql.rights import events_of
from tidegate.model.columns import Column, Columns, prefixed, under

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from tidegate.model.autonomy import Level
    from tidegate.model.snapshot import Snapshot
    from tidegate.model.tick import Tick

ANCHOR_TICKS: Final = 60
"""Ticks from one that is stored whole to the next; more are where the fleet changes."""
CHECKPOINT_TICKS: Final = 120
"""Ticks from the beginning of one checkpoint to that of the next."""
SAVING_TICKS: Final = 80
"""Ticks over which a checkpoint is written: a restart repeats at most 200 ticks."""
UNPRUNED_RATIO: Final = 0.02
"""Share of the bytes allowed that may be written before what is too much is dropped."""
NEVER: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Bytes written so far, by what they are."""

    rows: int = 0
    changes_bytes: int = 0
    samples_bytes: int = 0
    checkpoint_bytes: int = 0


class SqlJournal:
    """Stores every tick; `opened` makes one."""

    def __init__(self, engine: sa.Engine, where: Location, retention: Retention) -> None:
        """Go on after the last tick stored."""
        self._engine = engine
        self._where = where
        self._looking = looking(where, engine)
        self._alone = alone(engine)
        self._retention = retention
        self._changes = Changes()
        self._last_row = Columns(number=Column(dtype=np.int64, fill=NEVER))
        self._before: Snapshot | None = None
        self._since_whole = 0
        self._saving: Saving | None = None
        self._saved = False
        """Whether the piece of the checkpoint that goes with the next tick is stored already."""
        self._unpruned_bytes = 0
        self._unpruned_ticks = ANCHOR_TICKS
        self._outgoing: set[bytes] = set()
        """Slices that the last checkpoint but one held and the last does not."""
        self.written = Written()
        with told(where), engine.connect() as connection:
            self._fleet_id = connection.scalar(sa.select(sa.func.max(tables.fleets.c.id))) or 0
            self._slices: set[bytes] | None = _slices_needed(connection)
            _bound_log(connection, self._retention)

    def append(self, tick: Tick) -> None:
        """Store one tick.

        Raises:
            TidegateError: the database refuses.

        """
        found = self._changes.follow(tick)
        self._note_rows(tick.snapshot, found)
        try:
            self._store(tick, found)
        except BaseException:
            self._forget_unstored(tick.number)
            raise

    def _store(self, tick: Tick, found: tick_changes.TickChanges) -> None:
        snapshot = tick.snapshot
        fleet = self._new_fleet(snapshot)
        whole = fleet is not None or self._since_whole >= ANCHOR_TICKS - 1
        self._since_whole = 0 if whole else self._since_whole + 1
        row = self._row(tick, found, whole=whole)
        turned = events_of(found, snapshot.roster.names)
        self._unpruned_bytes += row["bytes"]
        self._unpruned_ticks += 1
        saves = self._saving is not None and not self._saved
        saved = 0
        with told(self._where):
            if self._alone is not None and not (fleet or turned or saves or self._wants_pruning):
                self._alone(row)
            else:
                with self._engine.begin() as connection:
                    if fleet is not None:
                        connection.execute(tables.fleets.insert(), {"id": self._fleet_id, "data": fleet})
                    connection.execute(tables.ticks.insert(), row)
                    if turned:
                        connection.execute(tables.events.insert(), turned)
                    saved = self._save(connection) if saves else 0
                    self._unpruned_bytes += saved
                    if self._wants_pruning:
                        prune(connection, self._retention, newest_seconds=snapshot.time_seconds)
                        self._unpruned_bytes = self._unpruned_ticks = 0
        self._saved = False
        self._before = snapshot
        changes = len(row["changes"])
        self._count(found.rows["what"].size, changes, row["bytes"] - changes, saved)

    def _row(self, tick: Tick, found: tick_changes.TickChanges, *, whole: bool) -> TickRow:
        changes = tick_changes.encoded(found)
        samples = tick_samples.encoded(tick.snapshot, None if whole else self._before)
        anchor = self._anchor(tick.number) if whole else None
        return TickRow(
            number=tick.number,
            time_seconds=tick.snapshot.time_seconds,
            fleet_id=self._fleet_id,
            whole=whole,
            bytes=len(changes) + len(samples) + len(anchor or b""),
            changes=changes,
            samples=samples,
            anchor=anchor,
        )

    def think(self) -> None:
        """Store the next piece of the checkpoint now, so that the next tick need not.

        Raises:
            TidegateError: the database refuses.

        """
        if self._saving is None or self._saved:
            return
        try:
            with told(self._where), self._engine.begin() as connection:
                saved = self._save(connection)
        except BaseException:
            self._forget_unsaved()
            raise
        self._saved = True
        self._unpruned_bytes += saved
        self._count(0, 0, 0, saved)

    @property
    def _wants_pruning(self) -> bool:
        """Whether it is time to look for what is too old or too much: a look goes through a week of ticks."""
        bytes_max = UNPRUNED_RATIO * self._retention.bytes_max
        return self._unpruned_ticks >= ANCHOR_TICKS or self._unpruned_bytes > bytes_max

    def _forget_unstored(self, number: int) -> None:
        """Go on after a tick the database refused: the next is whole, and the checkpoint begins anew.

        Its rows and slices were rolled back with it, so nothing may build on them.
        """
        self._changes = Changes()
        rows = self._last_row["number"]
        rows[rows == number] = NEVER
        self._before = None
        self._forget_unsaved()

    def _forget_unsaved(self) -> None:
        """Begin the checkpoint anew: the database may hold none of the last slices."""
        self._saving = None
        self._saved = False
        self._slices = None
        self._outgoing = set()

    def again(self, tick: Tick, stored: tick_changes.TickChanges) -> None:
        """Remember a tick that is stored already, as `append` would have."""
        self._changes.again(tick, stored)
        self._note_rows(tick.snapshot, stored)

    def close(self) -> None:
        """Let go of what it looks with; the engine is its lender's."""
        if self._looking is not self._engine:
            self._looking.dispose()

    def controls(self, default: Level) -> Controls:
        """Return what people may tell the loop that writes here; ``default`` where no rule matches."""
        return Controls(self._engine, self._where, default, self._looking)

    @property
    def wants_checkpoint(self) -> bool:
        """Whether it is time to hand in the memory of every stage."""
        return self._saving is None

    def checkpoint(self, number: int, state: Mapping[str, NDArray[Any]]) -> None:
        """Begin to save the memory of every stage as it is after tick ``number``; ``state`` is a copy."""
        mine = prefixed("journal.changes", self._changes.state()) | prefixed(
            "journal.rows", self._last_row.state()
        )
        self._saving = Saving(number, dict(state) | mine, ticks=SAVING_TICKS)

    def checkpoint_at_once(self, number: int, state: Mapping[str, NDArray[Any]]) -> None:
        """Save the whole memory now, where nobody waits for a tick: before the first.

        Raises:
            TidegateError: the database refuses.

        """
        self.checkpoint(number, state)
        with told(self._where), self._engine.begin() as connection:
            while self._saving is not None and not self._saving.filed:
                self._save(connection)

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a checkpoint's state."""
        self._changes.restore(under(state, "journal.changes"))
        self._last_row.restore(under(state, "journal.rows"))

    def remark(self, name: str, value: str) -> None:
        """Note a fact of this run that readers want and that no later run need agree with.

        Raises:
            TidegateError: the database refuses.

        """
        with told(self._where), self._engine.begin() as connection:
            connection.execute(tables.identity.delete().where(tables.identity.c.name == name))
            connection.execute(tables.identity.insert(), {"name": name, "value": value})

    def event(self, time_seconds: int, kind: str, sentence: str, workload: str | None = None) -> None:
        """Note something a person should know.

        Raises:
            TidegateError: the database refuses.

        """
        row = {"time_seconds": time_seconds, "kind": kind, "sentence": sentence, "workload": workload}
        with told(self._where), self._engine.begin() as connection:
            connection.execute(tables.events.insert(), row)

    def _new_fleet(self, now: Snapshot) -> bytes | None:
        """Return the fleet where it changed."""
        before = self._before
        if before is not None and before.roster is now.roster and before.places is now.places:
            return None
        self._fleet_id += 1
        return tick_samples.fleet_encoded(FleetRecord(roster=now.roster, places=now.places))

    def _note_rows(self, snapshot: Snapshot, found: tick_changes.TickChanges) -> None:
        self._last_row.follow(snapshot)
        self._last_row["number"][found.rows["resource"], found.rows["workload"]] = found.number

    def _anchor(self, number: int) -> bytes:
        """Return how many ticks ago each series' last row is; more than there are ticks: never."""
        ago = np.where(self._last_row["number"] < 0, number + 1, number - self._last_row["number"])
        return sealed(packed(ago.astype(np.uint32)))

    def _save(self, connection: sa.Connection) -> int:
        """Write the next slices; with the last, the checkpoint replaces the one before it."""
        saving = self._saving
        if saving is None:
            return 0
        if self._slices is None:
            self._slices = set(connection.scalars(sa.select(tables.slices.c.digest)))
        fresh = saving.next(self._slices)
        if fresh:
            rows = [{"digest": part.digest, "data": part.data} for part in fresh]
            connection.execute(tables.slices.insert(), rows)
        if saving.done and not saving.filed:
            manifest = saving.file()
            connection.execute(tables.checkpoints.delete())
            connection.execute(
                tables.checkpoints.insert(), {"number": manifest.number, "manifest": manifest.encoded()}
            )
            # Who reads the checkpoint before this one still finds its slices until the next.
            stale = self._slices - manifest.digests
            gone = stale & self._outgoing
            _drop(connection, gone)
            self._slices -= gone
            self._outgoing = stale - gone
        if saving.age >= CHECKPOINT_TICKS:
            self._saving = None
        return sum(len(part.data) for part in fresh)

    def _count(self, rows: int, changes: int, samples: int, saved: int) -> None:
        so_far = self.written
        self.written = Written(
            rows=so_far.rows + rows,
            changes_bytes=so_far.changes_bytes + changes,
            samples_bytes=so_far.samples_bytes + samples,
            checkpoint_bytes=so_far.checkpoint_bytes + saved,
        )


@contextmanager
def opened(
    where: Location, identity: Mapping[str, str], retention: Retention | None = None
) -> Iterator[SqlJournal]:
    """Lend the journal of one loop; ``identity`` says which loop that is.

    Raises:
        InputError: the journal is another loop's, or in use.
        TidegateError: it is damaged or newer, and was left as it is.

    """
    with writing(where) as engine:
        require_identity(engine, where, identity)
        journal = SqlJournal(engine, where, retention or Retention())
        try:
            yield journal
        finally:
            journal.close()


def _bound_log(connection: sa.Connection, retention: Retention) -> None:
    """Keep SQLite's write-ahead log a small part of the bytes allowed."""
    if connection.dialect.name == "sqlite":
        pages = min(WAL_PAGES_MAX, max(1, int(retention.bytes_max * WAL_RATIO) // PAGE_BYTES))
        connection.exec_driver_sql(f"PRAGMA wal_autocheckpoint={pages}")


def _slices_needed(connection: sa.Connection) -> set[bytes]:
    """Return the slices of the last whole checkpoint; drop those of one that was not finished."""
    manifest = connection.scalar(
        sa.select(tables.checkpoints.c.manifest).order_by(tables.checkpoints.c.number.desc()).limit(1)
    )
    stored = {bytes(digest) for digest in connection.scalars(sa.select(tables.slices.c.digest))}
    needed = set() if manifest is None else manifest_decoded(manifest).digests
    _drop(connection, stored - needed)
    connection.commit()
    return stored & needed


def _drop(connection: sa.Connection, digests: set[bytes]) -> None:
    if digests:
        gone = tables.slices.delete().where(tables.slices.c.digest == sa.bindparam("gone"))
        connection.execute(gone, [{"gone": digest} for digest in sorted(digests)])


__all__ = ["SqlJournal", "Written", "opened"]
