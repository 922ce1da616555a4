"""Cards and the applications on them at one instant, as columns; and where everything should be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tidegate.model.resources import Resource

NOWHERE: Final = -1
"""In a column of cards: the application is on none."""

NOBODY: Final = -1
"""In a column of servers: the application does nobody's work in particular."""


class Strategy(Enum):
    """How something is moved."""

    LIVE = "live"
    """A virtual machine with its memory, while it runs."""
    HANDOFF = "handoff"
    """Another takes over its state and then serves: nobody's request is lost."""
    RESTART = "restart"
    """Stopped here, started there; state in memory is lost."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ways:
    """The links from servers to cards, and what applications put on them."""

    server: NDArray[np.int32]
    """(applications,) whose work each does, as a row of ``left_bytes_per_second``; `NOBODY`."""
    need_bytes_per_second: NDArray[np.float64]
    """(applications,) what each needs of the way from its server, its far memory included."""
    left_bytes_per_second: NDArray[np.float64]
    """(servers, cards) what each link carries less what is on it now; infinite where nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CardFleet:
    """What the fleet manager knows; frames are (resources, applications) or (resources, cards)."""

    time_seconds: float
    resources: tuple[Resource, ...]
    cards: tuple[str, ...]
    allocatable: NDArray[np.float64]
    """(resources, cards) what may be granted, base units of the card; infinite where nobody counts it."""
    takes_new: NDArray[np.bool_]
    """(cards,) whether it takes applications."""
    must_leave: NDArray[np.bool_]
    """(cards,) whether what is there is to go: it is drained, or dying."""
    heard: NDArray[np.bool_]
    """(cards,) whether it can be asked: nothing moves from or to a card nobody hears."""
    applications: tuple[str, ...]
    card: NDArray[np.int32]
    """(applications,) where each is; `NOWHERE`: it asks to be taken in."""
    need: NDArray[np.float32]
    """(resources, applications) what it will need at its peak, base units of a card."""
    floor: NDArray[np.float32]
    """(resources, applications) least it always holds."""
    ceiling: NDArray[np.float32]
    """(resources, applications) most it may hold; infinite where there is none."""
    priority: NDArray[np.uint8]
    """(applications,) SLA class; a higher one gives way later."""
    score: NDArray[np.float32]
    """(applications,) 0-100 of the server whose work it does; 0 for nobody's."""
    lateness: NDArray[np.float32]
    """(applications, cards) share of the latency agreed on that the way to each card takes, 0-1; 0 where
    none was agreed."""
    state_bytes: NDArray[np.float64]
    """(applications,) what a move carries."""
    hands_off: NDArray[np.bool_]
    """(applications,) whether it can hand its state over."""
    settled_seconds: NDArray[np.float64]
    """(applications,) how long it has been where it is; infinite where it never moved, minus infinite where
    it can't be moved now whatever it costs."""
    between_bytes_per_second: NDArray[np.float64]
    """(cards, cards) what is left of what the way from one card to another carries."""
    refused: NDArray[np.bool_] | None = None
    """(applications, cards) which card said no to which lately, and is not asked now; None where none did."""
    ways: Ways | None = None
    """The links to servers; None where nothing is known of them."""

    def __post_init__(self) -> None:
        """Refuse columns whose lengths disagree.

        Raises:
            InputError: a column has another length, with its name.

        """
        rows, cards, count = len(self.resources), len(self.cards), len(self.applications)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_OF_CARDS, (cards,))
        shapes |= dict.fromkeys(_OF_APPLICATIONS, (count,))
        shapes |= dict.fromkeys(_FRAMES, (rows, count))
        shapes |= {"allocatable": (rows, cards), "lateness": (count, cards)}
        shapes |= {"between_bytes_per_second": (cards, cards)}
        if self.refused is not None:
            shapes["refused"] = (count, cards)
        self._check_ways(count, cards)
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise InputError(f"'{name}' of a fleet of cards is {getattr(self, name).shape}, not {shape}")

    def _check_ways(self, count: int, cards: int) -> None:
        ways = self.ways
        if ways is None:
            return
        servers = ways.left_bytes_per_second.shape[0]
        for name, column, shape in (
            ("server", ways.server, (count,)),
            ("need_bytes_per_second", ways.need_bytes_per_second, (count,)),
            ("left_bytes_per_second", ways.left_bytes_per_second, (servers, cards)),
        ):
            if column.shape != shape:
                raise InputError(f"'{name}' of the ways to cards is {column.shape}, not {shape}")


_OF_CARDS: Final = ("takes_new", "must_leave", "heard")
_OF_APPLICATIONS: Final = ("card", "priority", "score", "state_bytes", "hands_off", "settled_seconds")
_FRAMES: Final = ("need", "floor", "ceiling")


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One application to another card, and what for."""

    application: str
    card_from: str
    card_to: str
    strategy: Strategy
    pause_seconds: float
    """How long nobody serves, as expected."""
    pay_back_seconds: float
    """After so long it has won what it costs; 0 where it must go whatever it costs."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplaced:
    """An application that no card can take, or that can't leave the card it must."""

    application: str
    reason: str
    """Names the resource and how much is lacking."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CardPlan:
    """Where everything should be and what each may hold there."""

    card: NDArray[np.int32]
    """(applications,) once all moves are made; `NOWHERE` where none can take it."""
    budget: NDArray[np.float32]
    """(resources, applications) what each may hold there; within a card they fit; infinite: no limit."""
    moves: tuple[Move, ...]
    """In the order in which they are to be made."""
    unplaced: tuple[Unplaced, ...]
