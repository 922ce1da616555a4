"""What a device remembers, as records: each is one row of its store."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec reads it when it runs
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Final

from tidegate.model.application import (
    Amounts,
    ApplicationSpec,
    ApplicationState,
)
from tidegate.model.outcome import Phase  # noqa: TC001 - msgspec reads it when it runs

RESOURCES: Final = tuple(each.name for each in fields(Amounts))


class Strategy(IntEnum):
    """How something is moved."""

    LIVE = 1
    HANDOFF = 2
    RESTART = 3


class MigrationPhase(IntEnum):
    """How far a migration is."""

    PENDING = 1
    PREPARING = 2
    SWITCHING = 3
    SUCCEEDED = 4
    FAILED = 5
    ABORTED = 6


ENDED: Final = frozenset({MigrationPhase.SUCCEEDED, MigrationPhase.FAILED, MigrationPhase.ABORTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a card knows of itself."""

    card: str
    draining: bool = False
    draining_revision: int = 0
    """The revision at which `draining` last changed: the card's etag."""
    state_version: int = 0
    """Grows with every change to what the card holds."""
    revision: int = 0
    """Grows with every change to an application; etags are made of it."""
    starts: int = 0
    """Times a device was started on this store: the epoch of its orders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Temporary:
    """Until when an amount holds, and whose it is."""

    until_nanoseconds: int
    adjustment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An application of this card: what is wanted of it, and how it was last found."""

    name: str
    spec: ApplicationSpec
    epoch: int
    wanted: ApplicationState
    """STOPPED, RUNNING, STANDBY or RELEASING."""
    amounts: Amounts
    """What it is to hold."""
    held: Amounts = field(default_factory=Amounts)
    """What it was last seen to hold, read back."""
    safe: Amounts = field(default_factory=Amounts)
    """What `temporary` amounts fall back to."""
    temporary: Mapping[str, Temporary] = field(default_factory=dict)
    failure: str = ""
    """Why it is not started again; empty where it did not fail."""
    restarts: int = 0
    restarted_nanoseconds: tuple[int, ...] = ()
    """When it was started again, over the last hour."""
    owner: str = ""
    """The card it comes from, while it waits here on standby."""
    taking: bool = False
    """Its state is coming in: it may serve already, so it can no longer be withdrawn."""
    migration: str = ""
    """The migration that takes it away, while there is one."""
    changed_nanoseconds: int = 0
    revision: int = 0
    budget_told_nanoseconds: int = 0
    """When the fleet manager last said its budget, changed or not."""

    @property
    def state(self) -> ApplicationState:
        """How it is, in one word."""
        return ApplicationState.FAILED if self.failure else self.wanted

    @property
    def etag(self) -> str:
        """Changes with every change."""
        return str(self.revision)

    @property
    def runs(self) -> bool:
        """Whether a program of it should be there."""
        if self.failure or self.wanted is ApplicationState.STOPPED:
            return False
        # Without the hand-off contract nothing waits on standby: room is kept, and it is started in the end.
        return self.wanted is not ApplicationState.STANDBY or self.spec.hands_off


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a name for ever: where it stands among its epochs."""

    name: str
    epoch: int = 0
    """The highest ever heard of here."""
    served: int = -1
    """The highest that ever served here."""
    closed: int = -1
    """Up to this one nothing is taken in here: it was withdrawn, or moved on."""
    moved_to: str = ""
    at_nanoseconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """One change to what an application holds."""

    id: str
    application: str
    requested: Amounts
    accepted: Amounts
    applied: Amounts
    phase: Phase
    reason: str = ""
    requested_nanoseconds: int = 0
    expires_nanoseconds: int = 0
    state_version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One move of one application away from this card."""

    id: str
    application: str
    target: str
    target_address: str
    strategy: Strategy
    epoch: int
    """The one it will have there."""
    reason: str = ""
    phase: MigrationPhase = MigrationPhase.PENDING
    stop: str = ""
    """Why it is to be taken back; empty while it is to go on."""
    by_request: bool = False
    """Whether somebody asked to stop it."""
    why: str = ""
    """Why it did not succeed, or what it waits for."""
    prepared_nanoseconds: int = 0
    """When the target had taken it in on standby."""
    addresses: tuple[str, ...] = ()
    """Where it will serve."""
    bytes_total: int = 0
    bytes_moved: int = 0
    switched_nanoseconds: int = 0
    """When it stopped serving here."""
    pause_nanoseconds: int = 0
    began_nanoseconds: int = 0
    ended_nanoseconds: int = 0
    leftover: bool = False
    """Whether a standby of it may be left at the target."""

    @property
    def ended(self) -> bool:
        """Whether it goes on no more."""
        return self.phase in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The latency measured while an amount of CPU was held."""

    cpu_cores: float
    latency_p99_seconds: float
    requests_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How an application is watched, and the curve learned of it."""

    application: str
    interval_nanoseconds: int
    tried_cpu_cores: tuple[float, ...] = ()
    trial_nanoseconds: int = 0
    curve: tuple[CurvePoint, ...] = ()
    trials_left: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that may come twice."""

    id: str
    asked: str
    """A digest of what was asked: the same identifier never means two things."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request was answered."""

    request: Request
    said: Application | Adjustment | Migration | Profile | Settings | None
    at_nanoseconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """An application that is no more, with its adjustments and its profile."""

    application: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwatched:
    """A profile that is no more."""

    application: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """An answer that does not hold."""

    request: Request


Change = (
    Settings | Application | Gone | Seen | Adjustment | Migration | Profile | Unwatched | Answer | Unanswered
)
"""What is written down in one row."""
