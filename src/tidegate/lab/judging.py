"""Judges a trained model in shadow against whoever decides, on samples that neither has learned from.

Nobody acts on a model in shadow, so that what it would have said can be replayed: both look an hour ahead
from the same moments of a trace, and see nothing later. What comes of it is the record that promotes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.app.artefacts import Block, Record, Stage, open_model, revived
from tidegate.app.artefacts.record import verdict
from tidegate.app.artefacts.stages import active_in
from tidegate.app.artefacts.store import iso
from tidegate.app.path_models import path_model
from tidegate.lab.archive import load_trace
from tidegate.lab.forecasts.measures import DAY_SECONDS, HOUR_SECONDS, PathTally
from tidegate.lab.forecasts.origins import origins_after
from tidegate.lab.forecasts.run import check_paths
from tidegate.lab.panels import panel_of
from tidegate.lab.replay import with_known_capacity
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tidegate.app.artefacts import Card, ModelStore, Opened
    from tidegate.app.artefacts.record import Verdict
    from tidegate.lab.forecasts.origins import Origins
    from tidegate.model.panel import Panel
    from tidegate.ports import PathForecaster

UNTRAINED: Final = "profile"
"""The path model that decides where no trained one is active."""
AHEAD_SECONDS: Final = HOUR_SECONDS
"""How far both look: what a resize can still answer. Origins lie no nearer: no sample counts twice."""
ORIGINS_MAX: Final = 400
"""From how many moments at most; on traces of more than 17 days they lie further apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What came of judging a model."""

    card: Card
    """Of the model in shadow."""
    record: Record
    verdict: Verdict
    """What `promote` goes by."""
    horizon_seconds: int
    origins: int
    learned_until: str
    """ISO 8601, UTC: nothing before it was counted, since one of the two had learned from it."""
    samples_learned: int
    """Samples of the trace before that: history to look back on, and no more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    """One of the two: who speaks, and how."""

    said: str
    """How it is named in errors."""
    model: PathForecaster
    learns: bool = False
    """It learns each day from what came before, as it does at work; else it says what it was trained to."""


def judge(
    name: str,
    traces: Sequence[Path],
    store: ModelStore,
    *,
    step_seconds: int | None = None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Judgement:
    """Let a model in shadow and whoever it must beat look ahead on traces, and write the record of it.

    An earlier record is replaced; until the very end nothing is written. ``step_seconds`` is that of the
    model by default. ``progress`` is told what is done now, and how many parts of how many are.

    Raises:
        InputError: there is no such model, it is not in shadow, it or the active one can't be opened or is
            of another step, or the traces can't be read or have too little that neither has learned from.
        TidegateError: a model answered with what is no forecast, or the disk is full.

    """
    opened = _in_shadow(store, name, step_seconds)
    card = opened.card
    against = _active(store, card)
    mine = _Side(said=name, model=revived(opened))
    if against is None:
        theirs = _Side(said=UNTRAINED, model=path_model(UNTRAINED, seed=card.seed), learns=True)
    else:
        theirs = _Side(said=against.card.name, model=revived(against))
    resource = Resource[card.resource.upper()]
    trace = load_trace(
        traces,
        resources=(resource,),
        step_seconds=card.step_seconds,
        progress=lambda done, total: progress("reading", done, total),
    )
    panel = panel_of(trace, resource)
    learned_seconds = max(_learned_until_seconds(one.card) for one in (opened, against) if one is not None)
    learned_steps = _steps_before(learned_seconds, panel)
    origins = origins_after(
        learned_steps,
        panel.steps,
        panel.step_seconds,
        horizon_steps=max(1, AHEAD_SECONDS // panel.step_seconds),
        count_max=ORIGINS_MAX,
    )
    capacity = with_known_capacity(trace).rows_of(resource)[1]
    blocks = _replayed(panel, capacity, origins, (mine, theirs), progress)
    record = _record(blocks, origins, panel, card, None if against is None else against.card)
    progress("storing", 0, 0)
    store.write_record(name, record)
    return Judgement(
        card=card,
        record=record,
        verdict=verdict(record),
        horizon_seconds=origins.horizon_steps * panel.step_seconds,
        origins=len(origins.steps),
        learned_until=iso(learned_seconds),
        samples_learned=int(np.isfinite(panel.shares[:learned_steps]).sum()),
    )


def _in_shadow(store: ModelStore, name: str, step_seconds: int | None) -> Opened:
    """Open the model that is to be judged.

    Raises:
        InputError: see `judge`.

    """
    opened = open_model(store.path(name), step_seconds=step_seconds)
    stage = next(one.life.stage for one in store.held() if one.name == name and one.life is not None)
    if stage is not Stage.SHADOW:
        remedy = (
            f"'tidegate models promote {name}' puts it there"
            if stage is Stage.CANDIDATE
            else "'tidegate models list' shows which are"
        )
        raise InputError(f"model '{name}' is {stage}, and only one in shadow is judged; {remedy}")
    return opened


def _active(store: ModelStore, card: Card) -> Opened | None:
    """Open the model that decides now in the place that another is to take; None if none does.

    Raises:
        InputError: it can't be opened, is of another step, or one that may be it can't be read.

    """
    held = store.held()
    for one in held:
        if one.life is None and one.card is not None and one.card.slot == card.slot:
            raise InputError(f"'{one.name}' may be active, and can't be read: {one.problem}")
    life = active_in({one.name: one.life for one in held if one.life is not None}, card.slot)
    if life is None:
        return None
    return open_model(store.path(life.name), step_seconds=card.step_seconds)


def _learned_until_seconds(card: Card) -> int:
    """Return where the last step ends that a model learned from.

    Raises:
        InputError: its card does not say.

    """
    try:
        until = datetime.fromisoformat(card.data.end)
    except ValueError as error:
        raise InputError(
            f"the card of '{card.name}' does not say up to when it learned ({card.data.end!r} is no time); "
            "train it again"
        ) from error
    return ceil(until.replace(tzinfo=until.tzinfo or UTC).timestamp())


def _steps_before(time_seconds: int, panel: Panel) -> int:
    """Return how many of a panel's steps begin before a time.

    Raises:
        InputError: all of them do: there is nothing that was not learned from.

    """
    steps = max(0, -(-(time_seconds - panel.start_seconds) // panel.step_seconds))
    if steps >= panel.steps:
        raise InputError(
            f"the trace ends at {iso(panel.end_seconds)}, and up to {iso(time_seconds)} samples were learned "
            "from: they prove nothing; give a trace that goes on after that"
        )
    return steps


def _record(
    blocks: tuple[Block, ...], origins: Origins, panel: Panel, card: Card, against: Card | None
) -> Record:
    """Return the record of a model against another, or against what decides without one.

    Raises:
        InputError: no sample is present where they looked.

    """
    record = Record(
        weights_sha256=card.weights_sha256,
        against=None if against is None else against.name,
        against_sha256=None if against is None else against.weights_sha256,
        since=iso(_at(origins.steps[0], panel)),
        until=iso(_at(origins.steps[-1] + origins.horizon_steps, panel)),
        samples=sum(block.samples for block in blocks),
        loss_sum=sum(block.loss_sum for block in blocks),
        active_loss_sum=sum(block.active_loss_sum for block in blocks),
        blocks=blocks,
    )
    if not record.samples:
        raise InputError(
            f"no sample from {record.since} to {record.until} is present; give a trace with {card.resource} "
            "there"
        )
    return record


def _at(steps: int, panel: Panel) -> int:
    return panel.start_seconds + steps * panel.step_seconds


def _replayed(
    panel: Panel,
    capacity: NDArray[np.float32],
    origins: Origins,
    sides: tuple[_Side, _Side],
    progress: Callable[[str, int, int], None],
) -> tuple[Block, ...]:
    """Let both look ahead from every origin and count what came, in blocks of a day (UTC) each."""
    count = len(origins.steps)
    tallies = [_tally(panel, origins) for _ in sides]
    samples = np.zeros(count, dtype=np.int64)
    days = np.array([_at(steps, panel) // DAY_SECONDS for steps in origins.steps])
    for at, steps in enumerate(origins.steps):
        progress("judging", at, count)
        seen = replace(panel.until(steps), capacity=capacity[steps - 1])
        came = panel.shares[steps : steps + origins.horizon_steps]
        samples[at] = np.isfinite(came).sum()
        for side, tally in zip(sides, tallies, strict=True):
            if side.learns and (at == 0 or days[at] != days[at - 1]):
                side.model.fit(seen)
            paths = side.model.paths(seen, origins.horizon_steps)
            check_paths(paths, side.said, origins.horizon_steps, len(panel.names), otherwise="train it anew")
            tally.add(at, paths, came)
    mine, theirs = (tally.loss_by_origin[0] for tally in tallies)
    return tuple(
        Block(
            samples=int(samples[days == day].sum()),
            loss_sum=float(mine[days == day].sum()),
            active_loss_sum=float(theirs[days == day].sum()),
        )
        for day in np.unique(days)
        if samples[days == day].any()
    )


def _tally(panel: Panel, origins: Origins) -> PathTally:
    """Return sums of losses; nobody asks for scaled errors here."""
    return PathTally(
        scale=np.full(len(panel.names), np.nan),
        horizons_steps=origins.horizons_steps,
        origins=len(origins.steps),
        step_seconds=panel.step_seconds,
    )


__all__ = ["Judgement", "judge"]
