"""What the fleet manager is told, what it remembers, and what it says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidegate.model.application import Amounts, ApplicationSpec, ApplicationState
from tidegate.model.card_fleet import Strategy  # noqa: TC001 - msgspec reads it when it runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.model.card_fleet import CardFleet, CardPlan, Move


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link as a card has measured it."""

    latency_seconds: float
    """Round trip."""
    loss_ratio: float = 0.0
    """Share of what is asked that is not answered: lost there or back."""
    bytes_per_second: float | None = None
    """What it carries; None where that was not measured."""
    left_bytes_per_second: float | None = None
    """What it carries less what is on it now; None where either is not known."""
    far_memory: Mapping[str, float] = field(default_factory=dict)
    """Bytes per second of each application's far memory over it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationSeen:
    """An application as its card tells of it."""

    name: str
    epoch: int
    state: ApplicationState
    spec: ApplicationSpec
    held: Amounts = field(default_factory=Amounts)
    used: Amounts = field(default_factory=Amounts)
    expected: Amounts = field(default_factory=Amounts)
    """What the card's engine expects it to need at its peak; nothing where it has no forecast yet."""
    cpu_cores_for_sla: float | None = None
    """Least CPU with which it keeps the latency agreed on, by its profile."""
    latency_p99_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSeen:
    """A card as it tells of itself."""

    name: str
    address: str
    """Where its device listens, for other cards."""
    allocatable: Amounts
    draining: bool = False
    degraded: str = ""
    """Why it should be left, such as a store that can't be written; empty where nothing is wrong."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """0-100 by server."""
    links: Mapping[str, Link] = field(default_factory=dict)
    """By the name of the server or card at the other end."""
    applications: tuple[ApplicationSeen, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An application and the card it belongs on: what the fleet manager owns."""

    name: str
    card: str
    """Empty: on none."""
    epoch: int
    """The one it has there."""
    epoch_asked: int
    """The highest ever asked for, also by moves that failed."""
    spec: ApplicationSpec
    since_seconds: float
    """When it came to that card."""
    asked: str = ""
    """The card that was asked to take it in, and has not answered: it alone may have it."""
    wanted: bool = False
    """Whether somebody gave it to the fleet: then it is placed again where its card has lost it."""
    request_id: str = ""
    """Of the request by which that was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving:
    """A move that was asked for and has not ended."""

    application: str
    card_from: str
    card_to: str
    epoch: int
    strategy: Strategy
    reason: str
    began_seconds: float
    migration: str = ""
    """As the card calls it; empty until it answered."""


def begun_move(move: Move, *, epoch: int, now_seconds: float) -> Moving:
    """Return a planned move as it begins, under an epoch nobody was given before."""
    return Moving(
        application=move.application,
        card_from=move.card_from,
        card_to=move.card_to,
        epoch=epoch,
        strategy=move.strategy,
        reason=move.reason,
        began_seconds=now_seconds,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a move ended, as its card tells."""

    succeeded: bool
    reason: str = ""
    pause_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something a person should know."""

    time_seconds: float
    about: str
    """The application or card."""
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetTick:
    """One turn of the fleet manager, whole."""

    time_seconds: float
    cards: tuple[CardSeen, ...]
    silent: Mapping[str, str]
    """Cards that did not answer, and why."""
    placed: Mapping[str, Placed]
    moving: Mapping[str, Moving]
    plan: CardPlan | None
    """None while no card was ever heard of."""
    wished: tuple[Move, ...]
    """What would be moved, and is held back by autonomy or a pause."""
    events: tuple[Event, ...]
    fleet: CardFleet | None = None
    """What the plan is of; None where there is none."""
    held: Mapping[str, str] = field(default_factory=dict)
    """Why people let nobody act on an application, by its name."""
