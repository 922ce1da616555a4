"""What a check-up says: one finding per thing looked at, with its use and the way to get it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """How far a thing can be used here."""

    WORKS = "works"
    LIMITED = "limited"
    MISSING = "missing"


class Need(StrEnum):
    """What a thing is for; what stands first is the most useful to mend."""

    RUNNING = "running"
    """Tidegate itself, observing."""
    ACTING = "acting"
    """Resizing and moving what runs here."""
    MORE = "more"
    """Better or further measurements, forecasts and actions."""
    HARDWARE = "hardware"
    """Only where the hardware is, or may be bought."""


NEEDS = tuple(Need)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    group: str
    state: State
    seen: str
    """What was found, in one line."""
    good_for: str
    """What it does for Tidegate."""
    need: Need
    get: str = ""
    """One sentence: how to get it; empty where it works, or where there is nothing to do."""

    def __post_init__(self) -> None:
        """Refuse what would be printed as a riddle.

        Raises:
            InputError: nothing was seen, or something that works says how to get it.

        """
        if not self.seen:
            raise InputError(f"the finding '{self.name}' says nothing of what was seen; name it")
        if self.state is State.WORKS and self.get:
            raise InputError(f"'{self.name}' works and says how to get it; leave that out")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckUp:
    """Everything a check-up found on one machine."""

    machine: Mapping[str, str | int]
    """Kind, cores, bytes of memory, versions; amounts in base units, named with them."""
    findings: tuple[Finding, ...]

    def remedies(self) -> tuple[Finding, ...]:
        """Return what has a way to be had, the most useful first."""
        order = (State.MISSING, State.LIMITED)
        wanted = [finding for finding in self.findings if finding.get]
        return tuple(sorted(wanted, key=lambda one: (NEEDS.index(one.need), order.index(one.state))))
