"""Who is in the fleet: workloads and places as columns, and how rows follow their workload.

Stages keep state in arrays whose last axis is the workload. When the fleet changes, `source_rows`
says where each workload of the new roster stood in the old one and `realigned` moves the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HOST: Final = 0
"""Index of the host's share on the first axis of a grant."""
CARD: Final = 1
"""Index of the card's share on the first axis of a grant."""
SHARES: Final = 2
"""How many shares a grant has: one at the host, one at a card."""
NO_CARD: Final = -1
"""In a column of card numbers: this workload holds nothing on a card and may use none."""

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Roster:
    """The workloads of a fleet and what was agreed with their owners; one row each.

    Two snapshots of an unchanged fleet share one roster object, which is how stages notice cheaply
    that nothing moved. Identifiers live as long as the workload; names may change.
    """

    ids: NDArray[np.int64]
    """(workloads,) unique identifiers, in the order of every frame's last axis."""
    names: Sequence[str]
    """(workloads,) what people call them."""
    violation_rate: NDArray[np.float32]
    """(workloads,) share of samples that may run short under the SLA, in (0, 0.5]."""
    priority: NDArray[np.uint8]
    """(workloads,) SLA class; a higher one gives way later."""
    floor: NDArray[np.float32]
    """(resources, workloads) least the workload always holds, in base units."""
    offloadable_ratio: NDArray[np.float32]
    """(resources, workloads) share of demand that may be served by a card, 0-1."""

    def __post_init__(self) -> None:
        """Refuse columns whose lengths disagree.

        Raises:
            InputError: a column has another number of workloads, or an identifier stands twice.

        """
        workloads = self.ids.shape[0]
        columns = (self.violation_rate, self.priority, self.floor, self.offloadable_ratio)
        if any(column.shape[-1] != workloads for column in columns) or len(self.names) != workloads:
            raise InputError(f"the roster's columns disagree: {workloads} ids but another length elsewhere")
        if workloads and np.unique(self.ids).size != workloads:
            raise InputError("the roster holds an identifier twice; give every workload its own")

    def __len__(self) -> int:
        """Return the number of workloads."""
        return int(self.ids.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """Servers and cards: anything with capacity; one row each.

    A card serves the servers it is linked to. ``worth`` says what one unit on the place does,
    measured in units of a server: a card core at 0.5 does half the work of a host core.
    """

    names: Sequence[str]
    """(places,) what people call them."""
    is_card: NDArray[np.bool_]
    """(places,) whether the place is an offload card."""
    allocatable: NDArray[np.float64]
    """(resources, places) what may be granted there, in base units; infinite where unknown."""
    worth: NDArray[np.float32]
    """(resources, places) server units one unit of this place is worth; 1 for servers."""
    link_server: NDArray[np.int64]
    """(links,) the server end of each host-card link, as a place number."""
    link_card: NDArray[np.int64]
    """(links,) the card end of each link, as a place number."""
    link_bytes_per_second: NDArray[np.float64]
    """(links,) capacity of each link."""

    @property
    def bounded(self) -> bool:
        """Whether any place has a limit at all; a bare trace has none."""
        return bool(np.isfinite(self.allocatable).any())

    def cards_of(self, server: int) -> NDArray[np.int64]:
        """Return the place numbers of the cards linked to a server."""
        return self.link_card[self.link_server == server]


def one_unbounded_server(resources: int) -> Places:
    """Return the place of a trace that names no servers: one, with no limit and no card."""
    none = np.empty(0, dtype=np.int64)
    return Places(
        names=("server",),
        is_card=np.zeros(1, dtype=np.bool_),
        allocatable=np.full((resources, 1), np.inf),
        worth=np.ones((resources, 1), dtype=np.float32),
        link_server=none,
        link_card=none,
        link_bytes_per_second=np.empty(0),
    )


def source_rows(old_ids: NDArray[np.int64], new_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each new identifier its row among the old ones, -1 where it is new.

    Shapes: (old,), (new,) -> (new,). O(n log n), no Python loop.
    """
    if old_ids.size == 0:
        return np.full(new_ids.shape, -1, dtype=np.int64)
    order = np.argsort(old_ids, kind="stable")
    at = np.minimum(np.searchsorted(old_ids, new_ids, sorter=order), old_ids.size - 1)
    rows = order[at]
    return np.where(old_ids[rows] == new_ids, rows, -1)


def realigned(column: NDArray[_Scalar], rows: NDArray[np.int64], fill: float) -> NDArray[_Scalar]:
    """Return a column (..., old workloads) in the order of the new roster, ``fill`` for newcomers."""
    if column.shape[-1] == 0:
        return np.full((*column.shape[:-1], rows.size), fill, dtype=column.dtype)
    moved = np.take(column, np.maximum(rows, 0), axis=-1)
    moved[..., rows < 0] = fill
    return moved
