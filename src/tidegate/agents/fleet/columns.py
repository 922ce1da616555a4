"""From what cards tell to columns: pure functions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.agents.fleet.lateness import lateness
from tidegate.agents.fleet.linking import between, ways
from tidegate.model.application import Amounts
from tidegate.model.card_fleet import NOWHERE, CardFleet
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.agents.fleet.records import ApplicationSeen, CardSeen, Placed
    from tidegate.model.application import ApplicationSpec

RESOURCES: Final = (Resource.CPU, Resource.MEMORY, Resource.GPU, Resource.NETWORK, Resource.STORAGE)
FIELDS: Final = (
    "cpu_cores",
    "memory_bytes",
    "gpu_fraction",
    "network_bytes_per_second",
    "storage_bytes_per_second",
)
"""Of `Amounts`, in the order of the rows."""
USED_MARGIN: Final = 1.2
"""Where a card forecasts nothing yet, what is used and a fifth more, as operators' rules have it."""
IDLE_RATIO: Final = 0.1
"""Least part of what it asked for at first that is needed: who idles must be able to begin again."""


def columns(
    cards: Sequence[CardSeen],
    placed: Sequence[Placed],
    *,
    heard: Collection[str],
    held_back: Mapping[str, float],
    now_seconds: float,
    dying: Collection[str] = (),
    refused: Collection[tuple[str, str]] = (),
    arriving: Mapping[str, str] | None = None,
) -> CardFleet:
    """Return the fleet as columns; ``held_back`` says until when an application may not be moved.

    ``dying`` are cards to be left for good, ``refused`` applications and cards that are not to be brought
    together now, ``arriving`` the cards to which applications are on their way: they are charged there, too.
    """
    number = {card.name: at for at, card in enumerate(cards)}
    seen = {one.name: one for card in cards for one in card.applications}
    on = [number.get(one.card, NOWHERE) for one in placed]
    scores: dict[str, float] = {}
    for card in cards:
        for server, score in card.scores.items():
            scores[server] = max(score, scores.get(server, 0.0))
    specs = [one.spec for one in placed]
    answering = np.array([card.name in heard for card in cards], dtype=np.bool_)
    closed = np.array([card.draining or bool(card.degraded) for card in cards], dtype=np.bool_)
    leaving = np.array([card.draining or card.name in dying for card in cards], dtype=np.bool_)
    need = _rows([needed(spec, seen.get(one.name)) for one, spec in zip(placed, specs, strict=True)], 0.0)
    allocatable = _allocatable(cards)
    for row, one in enumerate(placed):
        to = number.get((arriving or {}).get(one.name, ""))
        if to is not None:
            allocatable[:, to] = np.maximum(allocatable[:, to] - need[:, row], 0)
    return CardFleet(
        time_seconds=now_seconds,
        resources=RESOURCES,
        cards=tuple(card.name for card in cards),
        allocatable=allocatable,
        takes_new=answering & ~closed,
        must_leave=leaving,
        heard=answering,
        applications=tuple(one.name for one in placed),
        card=np.array(on, dtype=np.int32),
        need=need,
        floor=_rows([spec.floor for spec in specs], 0.0),
        ceiling=_rows([spec.ceiling for spec in specs], math.inf),
        priority=np.array([spec.sla.priority for spec in specs], dtype=np.uint8),
        score=np.array([scores.get(spec.server, 0.0) for spec in specs], dtype=np.float32),
        lateness=lateness(specs, cards),
        state_bytes=np.array([spec.state_bytes for spec in specs], dtype=np.float64),
        hands_off=np.array([spec.hands_off for spec in specs], dtype=np.bool_),
        settled_seconds=np.array([_settled(one, held_back, now_seconds) for one in placed], dtype=np.float64),
        between_bytes_per_second=between(cards),
        ways=ways(cards, placed, need),
        refused=np.array(
            [[(one.name, card.name) in refused for card in cards] for one in placed], dtype=np.bool_
        ).reshape(len(placed), len(cards))
        if refused
        else None,
    )


def needed(spec: ApplicationSpec, seen: ApplicationSeen | None) -> Amounts:
    """Return what an application will need: forecast, by its profile, or what it used and a margin.

    Never less than it uses now, whatever is forecast. One that nobody has seen run needs what it asks for at
    first.
    """
    asked = spec.amounts.over(spec.floor)
    if seen is None:
        return asked
    used, expected = seen.used.known(), seen.expected.known()
    known = {name: amount * USED_MARGIN for name, amount in used.items()} or dict(asked.known())
    known |= {name: max(amount, used.get(name, 0.0)) for name, amount in expected.items()}
    if seen.cpu_cores_for_sla is not None:
        known["cpu_cores"] = max(known.get("cpu_cores", 0.0), seen.cpu_cores_for_sla)
    for name, amount in asked.known().items():
        known[name] = max(known.get(name, 0.0), IDLE_RATIO * amount)
    most, least = spec.ceiling.known(), spec.floor.known()
    return amounts_of(
        {
            name: max(least.get(name, 0.0), min(amount, most.get(name, math.inf)))
            for name, amount in known.items()
        }
    )


def has_room(target: CardSeen, source: CardSeen, application: str) -> bool:
    """Return whether a card would take in an application of another with what that holds now, or began with.

    Where those on it hold more than they need it would not, until their new budgets have made room.
    """
    moving = next((one for one in source.applications if one.name == application), None)
    if moving is None:
        return True
    begins, limits = moving.spec.amounts.known(), target.allocatable.known()
    held = [one.held.known() for one in target.applications]
    return all(
        max(amount, begins.get(name, 0.0)) + sum(one.get(name, 0.0) for one in held)
        <= limits.get(name, math.inf)
        for name, amount in moving.held.known().items()
    )


def amounts_of(known: Mapping[str, float]) -> Amounts:
    """Return amounts by name as a record; those that are counted are rounded."""
    counted = {name: amount if name in _RATIOS else round(amount) for name, amount in known.items()}
    return Amounts(**counted)  # type: ignore[arg-type] # names and types are the fields'


def budget_of(budget: NDArray[np.float32], spec: ApplicationSpec) -> Amounts:
    """Return a column of budgets (resources,) as amounts, where it asks for one and has a limit."""
    asked = spec.amounts.known().keys() | spec.floor.known().keys() | spec.ceiling.known().keys()
    known = {name: float(budget[row]) for row, name in enumerate(FIELDS) if name in asked}
    return amounts_of({name: amount for name, amount in known.items() if math.isfinite(amount)})


_RATIOS: Final = frozenset({"cpu_cores", "gpu_fraction"})


def _rows(amounts: Sequence[Amounts], unknown: float) -> NDArray[np.float32]:
    """Return amounts as rows (resources, many)."""
    rows = [[_or(getattr(one, name), unknown) for one in amounts] for name in FIELDS]
    return np.array(rows, dtype=np.float32).reshape(len(FIELDS), len(amounts))


def _allocatable(cards: Sequence[CardSeen]) -> NDArray[np.float64]:
    """Return what may be granted (resources, cards): as cards count it, no end where they know of none.

    But for GPUs: where nobody knows of one there is none.
    """
    found = _rows([card.allocatable for card in cards], math.inf).astype(np.float64)
    gpu = RESOURCES.index(Resource.GPU)
    found[gpu, np.isinf(found[gpu])] = 0
    return found


def _or(amount: float | None, unknown: float) -> float:
    return unknown if amount is None else float(amount)


def _settled(one: Placed, held_back: Mapping[str, float], now_seconds: float) -> float:
    if held_back.get(one.name, 0.0) > now_seconds:
        return -math.inf
    return now_seconds - one.since_seconds
