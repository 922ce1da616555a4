"""A second start goes on from the journal: the memory of every stage as it was after the last tick.

The last checkpoint is restored, then the loop itself is shown the samples that were journalled since.
Nothing is acted on and nothing journalled twice; the same input leaves the same memory.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from tidegate.actuate.dry_run import DryRun
from tidegate.journal.changes import Change
from tidegate.model.columns import prefixed, under
from tidegate.model.errors import TidegateError
from tidegate.model.roster import CARD, HOST, NO_CARD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from tidegate.journal.changes import TickChanges
    from tidegate.journal.sql.reader import Reader
    from tidegate.journal.sql.writer import SqlJournal
    from tidegate.loop import Loop
    from tidegate.model.snapshot import Snapshot
    from tidegate.model.tick import Tick


@runtime_checkable
class _Stateful(Protocol):
    def state(self) -> Mapping[str, NDArray[np.generic]]: ...

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """How a loop went on."""

    checkpoint: int | None
    """The tick whose memory was restored; None: none was kept."""
    repeated_ticks: int
    """Ticks seen again since."""
    last: Snapshot
    """The last tick's snapshot."""
    after: Snapshot
    """The same, once all that was asked for in that tick is done."""


def memory_of(loop: Loop) -> dict[str, NDArray[Any]]:
    """Return a copy of what every stage of a loop remembers."""
    memory: dict[str, NDArray[Any]] = {}
    for name, part in _stateful(loop).items():
        memory |= prefixed(name, dict(part.state()))
    return memory


def resume(loop: Loop, journal: SqlJournal, reader: Reader) -> Resumed | None:
    """Bring a fresh loop to where the journal ends; None where it holds no tick.

    Raises:
        TidegateError: a part of the journal that is needed is missing or damaged.

    """
    span = reader.span()
    if span is None:
        return None
    manifest = reader.checkpoint()
    first = span.first
    if manifest is not None:
        state = reader.state(manifest)
        for name, part in _stateful(loop).items():
            part.restore(under(state, name))
        journal.restore(state)
        first = manifest.number + 1
    loop.number = first
    last = _see_again(loop, journal, reader, range(first, span.last + 1))
    if last is None:
        ((_, last),) = reader.snapshots(span.last, span.last)
    return Resumed(
        checkpoint=None if manifest is None else manifest.number,
        repeated_ticks=span.last + 1 - first,
        last=last,
        after=_done(last, next(reader.changes(span.last, span.last))),
    )


def _done(last: Snapshot, changes: TickChanges) -> Snapshot:
    """Return a snapshot as it is once everything asked for at its tick is done."""
    asked = (changes.rows["what"] & Change.ASKED) > 0
    rows = {name: values[..., asked] for name, values in changes.rows.items()}
    grant, card = last.grant.copy(), last.card.copy()
    for share, amounts in ((HOST, rows["host"]), (CARD, rows["card"])):
        grant[share, rows["resource"], rows["workload"]] = amounts
    moved = rows["card_place"] != NO_CARD
    card[rows["workload"][moved]] = rows["card_place"][moved]
    return replace(last, grant=grant, card=card)


def _see_again(loop: Loop, journal: SqlJournal, reader: Reader, numbers: range) -> Snapshot | None:
    """Turn the loop over journalled samples; its parts remember, nothing else happens."""
    if not numbers:
        return None
    first, last = numbers.start, numbers.stop - 1
    with closing(reader.snapshots(first, last)) as snapshots, closing(reader.changes(first, last)) as stored:
        seen = _Journalled(snapshots, numbers)
        again = replace(
            loop,
            telemetry=seen,
            # What was decided then is not judged by the time, the limits and the autonomy of now.
            guards=tuple(guard for guard in loop.guards if isinstance(guard, _Stateful)),
            actuator=DryRun(),
            journal=_Again(journal, stored),
        )
        for _ in numbers:
            again.tick()
    loop.number = again.number
    return seen.last


class _Journalled:
    """Telemetry that was seen before."""

    def __init__(self, snapshots: Iterator[tuple[int, Snapshot]], numbers: range) -> None:
        self._snapshots = snapshots
        self._numbers = iter(numbers)
        self.last: Snapshot | None = None

    def read(self) -> Snapshot:
        wanted = next(self._numbers)
        number, snapshot = next(self._snapshots, (None, None))
        if number != wanted or snapshot is None:
            raise TidegateError(
                f"the journal lacks tick {wanted}, which a restart needs; "
                "restore it from a backup, or move it away"
            )
        self.last = snapshot
        return snapshot


class _Again:
    """A journal that holds these ticks already."""

    def __init__(self, journal: SqlJournal, stored: Iterator[TickChanges]) -> None:
        self._journal = journal
        self._stored = stored

    def append(self, tick: Tick) -> None:
        self._journal.again(tick, next(self._stored))


def _stateful(loop: Loop) -> dict[str, _Stateful]:
    """Return the parts that remember, by names that a restart finds again."""
    parts: dict[str, object] = {
        "forecaster": loop.forecaster,
        "scorer": loop.scorer,
        "planner": loop.planner,
        "learner": loop.learner,
    }
    kinds = Counter[str]()
    for guard in loop.guards:
        kind = type(guard).__name__
        parts[f"guard.{kind}.{kinds[kind]}"] = guard
        kinds[kind] += 1
    return {name: part for name, part in parts.items() if isinstance(part, _Stateful)}


__all__ = ["Resumed", "memory_of", "resume"]
