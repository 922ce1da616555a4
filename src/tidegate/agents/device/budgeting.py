"""Brings applications down to their budgets, in steps, whatever they use: a full card is shared by class.

The fast loop never takes what is in use, and so would leave a card to whoever filled it first. The fleet
manager gives each the more the higher its class is; who holds more than that gives it back. What an
application can't do without is its floor, which no budget goes below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate.agents.device.card import SECOND
from tidegate.agents.device.room import amounts
from tidegate.agents.device.sizing import same
from tidegate.model.application import Amounts, ApplicationState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tidegate.agents.device.records import Application

LAPSE_SECONDS: Final = 300.0
"""A budget that was not told again for so long holds no more: the card's fleet manager is gone, and what it
shared out then says nothing of now. It tells each once a minute."""
STEP_RATIO: Final = 0.25
"""Of what is held, the most that is taken at once: clients see it coming, and another card may be found."""
EVERY_SECONDS: Final = 5.0
"""From one step to the next."""
RIGID: Final = frozenset({"memory_bytes"})
"""What is in use of these can't be taken without ending the program: only what is beside it is."""
BUDGETED: Final = "it holds more than the fleet manager shares out to it: a step towards its budget"


def budget_of(one: Application, now_nanoseconds: int) -> Amounts:
    """Return what an application may hold at most for now; nothing where its budget has lapsed."""
    return Amounts() if has_lapsed(one, now_nanoseconds) else one.spec.budget


def has_lapsed(one: Application, now_nanoseconds: int) -> bool:
    """Return whether an application has a budget that holds no more."""
    age = now_nanoseconds - one.budget_told_nanoseconds
    return bool(one.spec.budget.known()) and age > LAPSE_SECONDS * SECOND


def cuts(
    applications: Iterable[Application], used: Mapping[str, Amounts], now_nanoseconds: int
) -> dict[str, Amounts]:
    """Return what those over their budget are to hold next, by name; ``used`` is what each uses, if known.

    Never less than its budget or its floor, and of what a person set for a time nothing is taken.
    """
    found: dict[str, Amounts] = {}
    for one in applications:
        if one.state is not ApplicationState.RUNNING or one.migration:
            continue
        lower = _lower(one, used.get(one.name), now_nanoseconds)
        if lower:
            found[one.name] = amounts(lower)
    return found


def _lower(one: Application, used: Amounts | None, now_nanoseconds: int) -> dict[str, float]:
    floor, held = one.spec.floor.known(), one.held.over(one.amounts).known()
    in_use = {} if used is None else used.known()
    lower: dict[str, float] = {}
    for name, budget in budget_of(one, now_nanoseconds).known().items():
        if name not in held or name in one.temporary or name not in one.amounts.known():
            continue
        least = max(budget, floor.get(name, 0.0))
        if name in RIGID:
            if name not in in_use:
                continue
            least = max(least, in_use[name])
        step = max(least, held[name] * (1 - STEP_RATIO))
        step = least if same(name, step, held[name]) else step  # less than that the kernel can't take
        if step < held[name] and not same(name, step, held[name]):
            lower[name] = step
    return lower


__all__ = ["BUDGETED", "EVERY_SECONDS", "LAPSE_SECONDS", "budget_of", "cuts", "has_lapsed"]
