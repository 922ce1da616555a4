"""Moves under way: rehomes and migrations take time, load their link, and may fail.

`SimulatedFleet` hands every submitted move to `Moves` and asks it, once a step, which have ended. The rows
of a move end together: the share that grows, and the one that shrinks for it at the other end.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final

import array_api_compat.numpy as xp
import numpy as np

from tidegate.model.outcome import Outcome, Phase
from tidegate.model.plan import Kind
from tidegate.model.roster import CARD, NO_CARD
from tidegate.sim.physics import membership, transferred

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.plan import Actions

NO_LINK: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveCosts:
    """What moving costs and how often it fails; durations follow from bytes and links."""

    rehome_pause_seconds: float
    """How long the moved share serves nothing when a rehome ends."""
    migrate_pause_seconds: float
    state_ratio: float
    """Share of a workload's used memory that goes along when all of its CPU or GPU moves, 0-1."""
    rehome_failure_ratio: float
    """Share of rehomes that fail: half are refused at once, half stall until they time out."""
    migrate_failure_ratio: float
    timeout_seconds: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Rows of moves under way, one per share that changes; parallel arrays (rows,)."""

    move: NDArray[np.int64]
    """Rows of one move carry one number."""
    workload: NDArray[np.int64]
    workload_id: NDArray[np.int64]
    resource_row: NDArray[np.uint8]
    share: NDArray[np.uint8]
    place_to: NDArray[np.int32]
    amount_from: NDArray[np.float32]
    """The share before and after, in its place's units."""
    amount_to: NDArray[np.float32]
    remaining_bytes: NDArray[np.float64]
    """Bytes still to cross; 0 for the end that shrinks, infinite for a move that stalls."""
    link: NDArray[np.int64]
    pause_seconds: NDArray[np.float64]
    deadline_seconds: NDArray[np.float64]
    refused: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.move.shape[0])

    @property
    def at(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
        """Where the rows stand in a frame (2, resources, workloads)."""
        return self.share, self.resource_row, self.workload

    def where(self, chosen: NDArray[np.bool_]) -> Rows:
        """Return the chosen rows."""
        return Rows(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    def outcome(self, phase: NDArray[np.uint8], grant: NDArray[np.float32]) -> Outcome:
        """Return what became of these rows, with the shares read back from ``grant``."""
        return Outcome(
            workload_id=self.workload_id,
            resource_row=self.resource_row,
            share=self.share,
            phase=phase,
            amount_read_back=grant[self.at],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ended:
    """The rows whose moves ended in this step."""

    applied: Rows
    failed: Rows
    phase: NDArray[np.uint8]
    """(failed rows,): refused or timed out."""


class Moves:
    """Every move under way."""

    def __init__(
        self, costs: MoveCosts, *, step_seconds: int, link_bytes_per_second: NDArray[np.float64]
    ) -> None:
        """Start with none."""
        self._costs = costs
        self._step_seconds = step_seconds
        self._budget = link_bytes_per_second * step_seconds
        self._rows: Rows | None = None
        self._started = 0
        self.link_bytes_per_second = np.zeros(link_bytes_per_second.shape)
        """(links,) what moves carried in the last step."""

    def __len__(self) -> int:
        """Return the number of rows under way."""
        return 0 if self._rows is None else len(self._rows)

    def busy(self, actions: Actions) -> NDArray[np.bool_]:
        """Return which actions (actions,) touch a workload's resource that is moving."""
        if self._rows is None:
            return np.zeros(len(actions), dtype=np.bool_)
        moving = self._rows.workload * len(actions.resources) + self._rows.resource_row
        return np.isin(actions.workload * len(actions.resources) + actions.resource_row, moving)

    def start(
        self,
        actions: Actions,
        chosen: NDArray[np.bool_],
        move: NDArray[np.int64],
        *,
        moved_bytes: NDArray[np.float64],
        link: NDArray[np.int64],
        now_seconds: int,
    ) -> None:
        """Put the chosen actions under way; frames are (actions,), ``move`` tells them apart.

        Whether a move fails depends on the seed, the time and its place among the moves of that time.
        """
        kind = actions.kind[chosen]
        numbers, number = np.unique(move[chosen], return_inverse=True)
        migrates = np.zeros(numbers.size, dtype=np.bool_)
        migrates[number[kind == Kind.MIGRATE]] = True
        costs = self._costs
        rng = np.random.default_rng((costs.seed, now_seconds))
        draw = rng.random(numbers.size)
        ratio = np.where(migrates, costs.migrate_failure_ratio, costs.rehome_failure_ratio)
        stalls = ((draw >= ratio / 2) & (draw < ratio))[number]
        pause = np.where(migrates, costs.migrate_pause_seconds, costs.rehome_pause_seconds)[number]
        leads = kind != Kind.RESIZE
        remaining = np.where(leads, moved_bytes[chosen], 0.0)
        rows = Rows(
            move=number + self._started,
            workload=actions.workload[chosen],
            workload_id=actions.workload_id[chosen],
            resource_row=actions.resource_row[chosen],
            share=actions.share[chosen],
            place_to=actions.place_to[chosen],
            amount_from=actions.amount_from[chosen],
            amount_to=actions.amount_to[chosen],
            remaining_bytes=np.where(stalls, np.inf, remaining),
            link=link[chosen],
            pause_seconds=np.where(leads, pause, 0.0),
            deadline_seconds=np.full(kind.size, now_seconds + costs.timeout_seconds),
            refused=(draw < ratio / 2)[number],
        )
        self._started += numbers.size
        self._rows = rows if self._rows is None else _joined(self._rows, rows)

    def step(self, now_seconds: int) -> Ended | None:
        """Move one step's bytes over every link; return what ended, None if nothing is under way."""
        self.link_bytes_per_second = np.zeros(self._budget.shape)
        rows = self._rows
        if rows is None:
            return None
        remaining = self._carry(rows)
        _, number = np.unique(rows.move, return_inverse=True)
        count = int(number.max()) + 1
        left = np.zeros(count)
        np.maximum.at(left, number, remaining)
        done = (left <= 0)[number] & ~rows.refused
        late = ~done & (now_seconds >= rows.deadline_seconds)
        failed = rows.refused | late
        phase = np.where(rows.refused, np.uint8(Phase.REFUSED), np.uint8(Phase.TIMED_OUT))[failed]
        stays = ~done & ~failed
        ended = Ended(applied=rows.where(done), failed=rows.where(failed), phase=phase)
        self._rows = replace(rows, remaining_bytes=remaining).where(stays) if stays.any() else None
        return ended

    def _carry(self, rows: Rows) -> NDArray[np.float64]:
        """Return what each row still has to move after this step, and note what the links carried."""
        finite = np.isfinite(rows.remaining_bytes)
        runs = finite & (rows.remaining_bytes > 0) & ~rows.refused & (rows.link != NO_LINK)
        remaining = np.where(finite & (rows.link == NO_LINK), 0.0, rows.remaining_bytes)
        if runs.any():
            link = membership(xp, rows.link[runs], self._budget.size)
            moved = transferred(xp, rows.remaining_bytes[runs], link, self._budget)
            left = rows.remaining_bytes[runs] - moved
            # Less than a byte is rounding.
            remaining[runs] = np.where(left < 1.0, 0.0, left)
            carried = np.bincount(rows.link[runs], moved, self._budget.size)
            self.link_bytes_per_second = carried / self._step_seconds
        return remaining


def moves_of(actions: Actions, card: NDArray[np.int32]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which actions are part of a move, and the number of the move each belongs to: (actions,).

    A rehome takes along the other share of the same workload and resource; a change of card takes along
    every card share of the workload. ``card`` (workloads,) is where the card shares are now.
    """
    resources = len(actions.resources)
    series = actions.workload * resources + actions.resource_row
    rehomed = np.isin(series, series[actions.kind == Kind.REHOME])
    from_card = card[actions.workload]
    changes_card = (actions.share == CARD) & (actions.place_to != from_card) & (from_card != NO_CARD)
    migrates = changes_card | (actions.kind == Kind.MIGRATE)
    # A rehome onto a new card waits for the card: one move per workload that changes it.
    whole = np.isin(actions.workload, actions.workload[migrates]) & (rehomed | migrates)
    move = np.where(whole, -1 - actions.workload, series)
    return rehomed | migrates, move


def moved_bytes(
    actions: Actions,
    *,
    memory_row: int,
    used: NDArray[np.float32],
    capacity: NDArray[np.float32],
    state_ratio: float,
    takes_state: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the bytes each action (actions,) has to move.

    Memory moves itself. CPU and GPU take along their share of ``state_ratio`` x the workload's used memory;
    network and storage are rates and move nothing. ``takes_state`` (resources,) says which do;
    ``memory_row`` is -1 where memory is not simulated.
    """
    amount = np.abs(actions.amount_to - actions.amount_from).astype(np.float64)
    amount = np.where(actions.kind == Kind.MIGRATE, actions.amount_to, amount)
    if memory_row < 0:
        return np.zeros(amount.shape)
    at = actions.resource_row, actions.workload
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.clip(np.nan_to_num(amount / capacity[at], posinf=0.0), 0, 1)
    state = state_ratio * share * np.nan_to_num(used[memory_row, actions.workload])
    moved = np.where(takes_state[actions.resource_row], state, 0.0)
    return np.where(actions.resource_row == memory_row, amount, moved)


def _joined(first: Rows, second: Rows) -> Rows:
    return Rows(
        **{
            field.name: np.concatenate([getattr(first, field.name), getattr(second, field.name)])
            for field in fields(Rows)
        }
    )


__all__ = ["NO_LINK", "Ended", "MoveCosts", "Moves", "Rows", "moved_bytes", "moves_of"]
