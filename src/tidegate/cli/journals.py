"""Which journal a command reads or steers: the one named with --journal, or those that are there."""

from __future__ import annotations

import difflib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tidegate.app.state import CARDS, CONTROLS, DECISIONS, FLEET, MACHINE, SIMULATED, state_folder
from tidegate.cli.instants import parse_instant_seconds
from tidegate.drivers.local.clock import SystemClock
from tidegate.journal.sql.controls import AUTONOMY_DEFAULT, Controls
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.model.autonomy import Level, level
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidegate.journal.sql.opening import Location
    from tidegate.model.autonomy import Autonomy
    from tidegate.ports import Clock

JournalOption = Annotated[
    str | None,
    typer.Option(
        metavar="PATH|URL",
        help="The journal; those on this machine by default.",
    ),
]
SUGGESTIONS: Final = 3
CARDS_MAX: Final = 64
"""Journals of cards that are steered at once; more than that on one machine are named by --journal."""
SIMULATED_LOOP: Final = "simulated"
"""What a journal's identity says of its loop where the fleet is simulated."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A journal that is read, and whose journal it is."""

    where: Location
    reader: Reader

    @property
    def simulated(self) -> bool:
        """Whether it is of a simulated fleet."""
        path = self.where.path
        by_name = path is not None and path.name == SIMULATED
        return self.reader.identity().get("loop", SIMULATED_LOOP if by_name else "") == SIMULATED_LOOP

    @property
    def whose(self) -> str:
        """What people call whom it is of."""
        if self.simulated:
            return "Simulated fleet"
        identity = self.reader.identity()
        known = {"device": f"Card {identity.get('card', '')}", "fleet": "The fleet"}
        return known.get(identity.get("loop", ""), "This machine")

    @property
    def default(self) -> Level:
        """What may be done with whom no rule matches: as it was last started with.

        Before, this machine is observed; what Tidegate started itself is acted on.
        """
        identity = self.reader.identity()
        is_ours = self.simulated or identity.get("loop") in {"device", "fleet"}
        usual = Level.AUTO if is_ours else Level.OBSERVE
        return level(identity.get(AUTONOMY_DEFAULT, usual.label))

    def autonomy(self) -> Autonomy:
        """Return how far Tidegate may go, as this journal has it."""
        return Controls(self.reader.engine, self.where, self.default).autonomy()

    def names(self) -> Sequence[str]:
        """Return what the workloads of the last tick are called; nobody before the first."""
        span = self.reader.span()
        return () if span is None else self.reader.fleet_of(span.last).roster.names

    def now_seconds(self, clock: Clock | None = None) -> int:
        """Return the time as the journal counts it: that of its last tick where it is simulated."""
        span = self.reader.span() if self.simulated else None
        return (clock or SystemClock()).now_seconds() if span is None else span.last_seconds


def chosen(journal: str | None) -> tuple[Location, ...]:
    """Return the journal that was named, or every one on this machine: its own, cards', the fleet's.

    Raises:
        InputError: the name is none, or there is no journal yet.

    """
    if journal is not None:
        return (location(journal),)
    folder = state_folder()
    cards = sorted((folder / CARDS).glob(f"*/{DECISIONS}"))
    found = [folder / MACHINE, folder / SIMULATED, *cards[:CARDS_MAX], folder / FLEET / CONTROLS]
    there = tuple(location(str(path)) for path in found if path.is_file())
    if not there:
        raise InputError(
            f"there is no journal in {folder}; run 'tidegate up' first, or name one with --journal"
        )
    return there


@contextmanager
def opened(journal: str | None) -> Iterator[list[Opened]]:
    """Lend every chosen journal, to read.

    Raises:
        InputError: there is none.
        TidegateError: one is damaged, newer, or can't be reached.

    """
    readers: list[Opened] = []
    try:
        for where in chosen(journal):
            readers.append(Opened(where, Reader.of(where)))  # noqa: PERF401 - so that each one opened is closed
        yield readers
    finally:
        for one in readers:
            one.reader.close()


def with_ticks(journals: Sequence[Opened]) -> Opened:
    """Return the first journal that holds a tick.

    Raises:
        InputError: none does.

    """
    for journal in journals:
        if journal.reader.span() is not None:
            return journal
    raise InputError(f"{_all(journals)} holds no tick yet; let 'tidegate up' run for one")


def knowing(journals: Sequence[Opened], workload: str, at: str | None = None) -> tuple[Opened, int | None]:
    """Return the first journal in which a workload is known, and the time ``at`` stands for there.

    Raises:
        InputError: ``at`` is no time, is before every journal, or nobody is called so in any of them.

    """
    with_ticks(journals)
    known: dict[str, None] = {}
    for journal in journals:
        at_seconds, names = _names_at(journal, at)
        if workload in names:
            return journal, at_seconds
        known |= dict.fromkeys(names)
    if not known:
        raise InputError(f"{_all(journals)} holds no tick as old as {at!r}; give a later --at")
    close = difflib.get_close_matches(workload, known, n=SUGGESTIONS, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else "'tidegate plan show --all' lists them"
    when = "" if at is None else " at that time"
    raise InputError(f"no workload is called '{workload}' in {_all(journals)}{when}; {hint}")


def _names_at(journal: Opened, at: str | None) -> tuple[int | None, Sequence[str]]:
    """Return the time and who was there then."""
    span = journal.reader.span()
    if span is None:
        return None, ()
    if at is None:
        return None, journal.names()
    at_seconds = parse_instant_seconds(at, last_seconds=span.last_seconds)
    if at_seconds < span.first_seconds:
        return at_seconds, ()
    return at_seconds, journal.reader.fleet_of(journal.reader.number_at(at_seconds)).roster.names


def _all(journals: Sequence[Opened]) -> str:
    return " or ".join(journal.where.name for journal in journals)


__all__ = ["JournalOption", "Opened", "chosen", "knowing", "opened", "with_ticks"]
