"""What changed in a tick, and why: one row per series of which there is something new to tell.

A series has a row where it was asked to change, where what is wanted for it moved, where its forecast
won or lost the right to act, and where its level, variance or daily pattern was seen to have changed. It
holds what can't be recomputed later without running the fleet again: what was used, held and wanted, what
was forecast, by which model with which record, why, and what would have been wanted without the forecast.
A series that goes on as before has no row: its last one stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from tidegate.journal.packing import sealed, shuffled, unsealed, unshuffled
from tidegate.model.columns import Column, Columns
from tidegate.model.errors import TidegateError
from tidegate.model.forecast import acting
from tidegate.model.roster import CARD, HOST
from tidegate.model.snapshot import in_server_units

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from tidegate.model.tick import Tick

FORMAT: Final = 2
ADVICE_RATIO: Final = np.float32(0.01)
"""Advice that moved by less than this share of capacity since its last row is no news."""


class Change(IntFlag):
    """Why a series has a row."""

    FIRST = 1
    """It is new."""
    ASKED = 2
    """An action was submitted for it."""
    ADVICE = 4
    """What is wanted moved."""
    GAINED = 8
    """Its forecast won the right to act."""
    LOST = 16
    """Its forecast lost the right to act."""
    ACTS = 32
    """Its forecast has the right to act now."""
    DRIFTED = 64
    """Its level, variance or daily pattern was seen to have changed."""


class _Blob(msgspec.Struct, frozen=True):
    format: int
    number: int
    time_seconds: int
    expires_seconds: int
    resources: list[int]
    levels: list[float]
    models: list[str]
    rows: dict[str, tuple[str, bytes]]
    outcomes: dict[str, tuple[str, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TickChanges:
    """The changes of one tick, as columns by name.

    ``rows``, one entry a series: workload (row in the tick's roster), resource (row), what (`Change`),
    used, held and withheld (server units; withheld is what the guards kept back of what was wanted), host
    and card (wanted shares, place units), card_place, reason and planned_reason (`Reason`),
    counterfactual (server units; NaN: none), model, skill, coverage, drift (`Drift`), drift_seconds (how
    long ago that began), and quantiles (levels, rows) as shares of capacity.

    ``outcomes``, one entry an action of an earlier tick: workload_id, resource, share, phase, amount.
    """

    number: int
    time_seconds: int
    expires_seconds: int
    resources: tuple[int, ...]
    levels: tuple[float, ...]
    models: tuple[str, ...]
    rows: Mapping[str, NDArray[Any]]
    outcomes: Mapping[str, NDArray[Any]]


class Changes:
    """Finds the rows of each tick; remembers what the last row of each series said."""

    def __init__(self) -> None:
        """Know nobody yet."""
        self._memory = Columns(
            advice=Column(dtype=np.float32, fill=np.nan),
            acts=Column(dtype=np.bool_, fill=False),
        )

    def follow(self, tick: Tick) -> TickChanges:
        """Return the changes of the next tick."""
        memory, snapshot = self._memory, tick.snapshot
        memory.follow(snapshot)
        wanted = in_server_units(tick.planned.wanted, snapshot)
        acts = acting(tick.forecast)
        what = self._what(tick, wanted, acts)
        rows = np.nonzero(what)
        memory["acts"] = acts
        memory["advice"][rows] = wanted[rows]
        what |= np.where(acts, np.uint8(Change.ACTS), np.uint8(0))
        return TickChanges(
            number=tick.number,
            time_seconds=snapshot.time_seconds,
            expires_seconds=tick.plan.expires_seconds,
            resources=tuple(int(resource) for resource in snapshot.resources),
            levels=tuple(tick.forecast.levels.tolist()),
            models=tick.forecast.models,
            rows={"what": what[rows]} | _columns(tick, rows, wanted),
            outcomes=_outcomes(tick),
        )

    def again(self, tick: Tick, stored: TickChanges) -> None:
        """Remember a tick whose rows are stored: who was asked then is not asked anew."""
        memory, snapshot = self._memory, tick.snapshot
        memory.follow(snapshot)
        rows = stored.rows["resource"], stored.rows["workload"]
        memory["acts"] = acting(tick.forecast)
        memory["advice"][rows] = in_server_units(tick.planned.wanted, snapshot)[rows]

    def _what(self, tick: Tick, wanted: NDArray[np.float32], acts: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Why each series (resources, workloads) gets a row; 0 for those that don't."""
        advice, acted = self._memory["advice"], self._memory["acts"]
        known = ~np.isnan(wanted)
        with np.errstate(invalid="ignore"):
            moved = known & ~(np.abs(wanted - advice) <= ADVICE_RATIO * tick.snapshot.capacity)
        first = known & np.isnan(advice)
        what = np.where(moved, np.uint8(Change.ADVICE), np.uint8(0))
        what |= np.where(first, np.uint8(Change.FIRST), np.uint8(0))
        what |= np.where(acts & ~acted & ~first, np.uint8(Change.GAINED), np.uint8(0))
        what |= np.where(acted & ~acts, np.uint8(Change.LOST), np.uint8(0))
        drift = tick.forecast.drift
        if drift is not None:
            what |= np.where(drift.noticed & known, np.uint8(Change.DRIFTED), np.uint8(0))
        what[tick.actions.resource_row, tick.actions.workload] |= np.uint8(Change.ASKED)
        return what

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return what the last rows said."""
        return self._memory.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state."""
        self._memory.restore(state)


def _columns(
    tick: Tick, rows: tuple[NDArray[np.intp], ...], wanted: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    snapshot, forecast, plan = tick.snapshot, tick.forecast, tick.plan
    workload = rows[1]
    left = in_server_units(plan.wanted, snapshot)[rows]
    counterfactual, drift = plan.counterfactual, forecast.drift
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        quantiles = (forecast.quantiles[:, rows[0], workload] / snapshot.capacity[rows]).astype(np.float16)
    return {
        "workload": workload.astype(np.uint32),
        "resource": rows[0].astype(np.uint8),
        "used": snapshot.used[rows],
        "held": snapshot.held[rows],
        "withheld": wanted[rows] - left,
        "host": plan.wanted[HOST][rows],
        "card": plan.wanted[CARD][rows],
        "card_place": plan.card[workload],
        "reason": plan.reason[rows],
        "planned_reason": tick.planned.reason[rows],
        "counterfactual": np.full(workload.size, np.nan, np.float32)
        if counterfactual is None
        else counterfactual[rows],
        "model": forecast.model[rows],
        "skill": forecast.skill[rows].astype(np.float16),
        "coverage": forecast.coverage[rows].astype(np.float16),
        "drift": np.zeros(workload.size, np.uint8) if drift is None else drift.kind[rows],
        "drift_seconds": np.zeros(workload.size, np.uint32)
        if drift is None
        else drift.age_seconds[rows].astype(np.uint32),
        "quantiles": quantiles,
    }


def _outcomes(tick: Tick) -> dict[str, NDArray[Any]]:
    outcome = tick.outcome
    return {
        "workload_id": outcome.workload_id,
        "resource": outcome.resource_row,
        "share": outcome.share,
        "phase": outcome.phase,
        "amount": outcome.amount_read_back,
    }


def encoded(changes: TickChanges) -> bytes:
    """Return the blob of a tick's changes."""
    return sealed(
        _Blob(
            format=FORMAT,
            number=changes.number,
            time_seconds=changes.time_seconds,
            expires_seconds=changes.expires_seconds,
            resources=list(changes.resources),
            levels=list(changes.levels),
            models=list(changes.models),
            rows=_bytes(changes.rows),
            outcomes=_bytes(changes.outcomes),
        )
    )


def decoded(data: bytes, columns: Collection[str] | None = None) -> TickChanges:
    """Return the changes of a blob; of its rows only the named columns, where some are named.

    Raises:
        TidegateError: the blob is damaged or of a newer format.

    """
    blob = unsealed(data, _Blob)
    if blob.format > FORMAT:
        raise TidegateError(
            f"a journalled tick has format {blob.format}, newer than {FORMAT}; upgrade Tidegate"
        )
    rows = _arrays(
        blob.rows if columns is None else {name: blob.rows[name] for name in columns if name in blob.rows}
    )
    if "quantiles" in rows:
        rows["quantiles"] = rows["quantiles"].reshape(len(blob.levels), -1)
    return TickChanges(
        number=blob.number,
        time_seconds=blob.time_seconds,
        expires_seconds=blob.expires_seconds,
        resources=tuple(blob.resources),
        levels=tuple(blob.levels),
        models=tuple(blob.models),
        rows=rows,
        outcomes=_arrays(blob.outcomes),
    )


def _bytes(columns: Mapping[str, NDArray[Any]]) -> dict[str, tuple[str, bytes]]:
    return {name: (values.dtype.str, shuffled(values)) for name, values in columns.items()}


def _arrays(columns: Mapping[str, tuple[str, bytes]]) -> dict[str, NDArray[Any]]:
    return {name: unshuffled(data, dtype) for name, (dtype, data) in columns.items()}


__all__ = ["Change", "Changes", "TickChanges", "decoded", "encoded"]
