"""What every planner is held to, whatever its policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.errors import InputError
from tidegate.model.forecast import no_forecast
from tidegate.model.plan import Reason
from tidegate.model.resources import Resource
from tidegate.model.roster import CARD, NO_CARD, SHARES
from tidegate.model.snapshot import in_server_units
from tidegate.testing.checks import checks_of, require, require_array, require_same, run_all
from tidegate.testing.fleets import STEP_SECONDS
from tidegate.testing.story import Story

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tidegate.model.plan import Plan
    from tidegate.model.snapshot import Snapshot
    from tidegate.ports import Planner
    from tidegate.testing.checks import Check

TOLERANCE_RATIO = 1e-5
"""Totals are sums of float32 shares: this share of capacity is rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    make: Callable[[], Planner]
    story: Story


def check_planner(
    make: Callable[[], Planner],
    *,
    resources: tuple[Resource, ...] = (Resource.CPU, Resource.MEMORY),
    step_seconds: int = STEP_SECONDS,
) -> None:
    """Run every check on planners that ``make`` returns, each a new one.

    Raises:
        AssertionError: at least one check fails; a line for each says what.

    """
    run_all(planner_checks(make, resources=resources, step_seconds=step_seconds))


def planner_checks(
    make: Callable[[], Planner],
    *,
    resources: tuple[Resource, ...] = (Resource.CPU, Resource.MEMORY),
    step_seconds: int = STEP_SECONDS,
) -> tuple[Check, ...]:
    """Return the checks one by one; the snapshots they show have these resources and this step."""
    return checks_of(_Subject(make=make, story=Story(resources=resources, step_seconds=step_seconds)), CHECKS)


def planned(planner: Planner, story: Story, snapshot: Snapshot, *, unknown: bool = False) -> Plan:
    """Ask for a plan, with a forecast that follows the story or one that knows nothing."""
    plan = planner.plan(snapshot, story.forecast(snapshot, unknown=unknown), None)
    _require_well_formed(plan, snapshot)
    return plan


def _require_well_formed(plan: Plan, snapshot: Snapshot) -> None:
    shape = snapshot.used.shape
    require_array(plan.wanted, "wanted", shape=(SHARES, *shape), dtype=np.float32)
    require_array(plan.card, "card", shape=shape[1:], dtype=np.int32)
    require_array(plan.reason, "reason", shape=shape, dtype=np.uint8)
    for name in ("shortfall", "counterfactual"):
        column = getattr(plan, name)
        if column is not None:
            require_array(column, name, shape=shape, dtype=np.float32)
    codes = set(np.unique(plan.reason).tolist())
    require(codes <= {int(reason) for reason in Reason}, f"reason holds codes that mean nothing: {codes}")
    require(plan.expires_seconds > plan.time_seconds, "the plan expires before it could be applied")
    require(plan.time_seconds <= snapshot.time_seconds, "the plan is from the future")
    _require_sane_amounts(plan, snapshot)


def _require_sane_amounts(plan: Plan, snapshot: Snapshot) -> None:
    known = np.isfinite(snapshot.capacity)
    total = in_server_units(plan.wanted, snapshot)
    require(np.isfinite(total[known]).all(), "what is wanted is not finite where capacity is known")
    require((plan.wanted[:, known] >= 0).all(), "a share below 0 is wanted")
    above = total[known] - snapshot.capacity[known] * np.float32(1 + TOLERANCE_RATIO)
    require((above <= 0).all(), f"more is wanted than was sold, by up to {above.max(initial=0)}")
    require(not np.isinf(plan.wanted).any(), "an infinite share is wanted")
    cardless = plan.card == NO_CARD
    on_no_card = np.nan_to_num(plan.wanted[CARD][:, cardless])
    require(not on_no_card.any(), "a card share is wanted for a workload without card")
    cards = plan.card[~cardless]
    require(snapshot.places.is_card[cards].all(), "the card of a workload is no card")
    if plan.shortfall is not None:
        require((plan.shortfall[known] >= 0).all(), "a shortfall is negative or unknown")


def _both_fleets(subject: _Subject, ticks: Sequence[int]) -> Iterator[tuple[Planner, list[Snapshot]]]:
    """A planner for the fleet without places and another for the one with cards, with their stories."""
    for cards in (False, True):
        yield subject.make(), [subject.story.snapshot(tick, cards=cards) for tick in ticks]


def check_a_plan_is_well_formed_at_every_tick(subject: _Subject) -> None:
    """Shapes, types, amounts between nothing and what was sold, reasons that exist, an expiry ahead."""
    for planner, snapshots in _both_fleets(subject, range(40)):
        for snapshot in snapshots:
            planned(planner, subject.story, snapshot)


def check_it_copes_without_a_forecast(subject: _Subject) -> None:
    """Unknown quantiles, at first and in the middle, still make a plan."""
    for planner, snapshots in _both_fleets(subject, range(12)):
        for tick, snapshot in enumerate(snapshots):
            planned(planner, subject.story, snapshot, unknown=tick % 4 != 1)
        last = snapshots[-1]
        nothing = no_forecast(last.time_seconds, last.step_seconds, *last.used.shape)
        _require_well_formed(planner.plan(last, nothing, None), last)


def check_what_it_was_given_stays(subject: _Subject) -> None:
    """The arrays are read-only already; this also catches whoever opened them."""
    for planner, snapshots in _both_fleets(subject, range(6)):
        for snapshot in snapshots:
            before = snapshot.grant.tobytes(), snapshot.used.tobytes(), snapshot.card.tobytes()
            planned(planner, subject.story, snapshot)
            after = snapshot.grant.tobytes(), snapshot.used.tobytes(), snapshot.card.tobytes()
            require(before == after, "the snapshot was written into")


def check_what_it_gave_stays(subject: _Subject) -> None:
    """A plan already handed out is acted on and journalled: it must not change."""
    for planner, snapshots in _both_fleets(subject, range(12)):
        early = planned(planner, subject.story, snapshots[0])
        before = early.wanted.copy()
        for snapshot in snapshots[1:]:
            planned(planner, subject.story, snapshot)
        require_same(early.wanted, before, "an earlier plan changed when later ticks came")


def check_two_of_them_agree(subject: _Subject) -> None:
    """The same input gives the same bytes."""
    for planner, snapshots in _both_fleets(subject, range(16)):
        other = subject.make()
        for snapshot in snapshots:
            wanted = planned(planner, subject.story, snapshot)
            found = planned(other, subject.story, snapshot)
            require_same(found.wanted, wanted.wanted, "two instances that saw the same want differently")
            require_same(found.reason, wanted.reason, "two instances that saw the same say other reasons")


def check_it_goes_on_after_a_restart(subject: _Subject) -> None:
    """Saved in the middle and restored into a new instance, it goes on as if nothing had happened."""
    for planner, snapshots in _both_fleets(subject, range(24)):
        other = subject.make()
        if not (hasattr(planner, "state") and hasattr(other, "restore")):
            return
        for snapshot in snapshots[:12]:
            planned(planner, subject.story, snapshot)
        other.restore({name: np.array(array) for name, array in planner.state().items()})
        for snapshot in snapshots[12:]:
            wanted = planned(planner, subject.story, snapshot)
            found = planned(other, subject.story, snapshot)
            require_same(found.wanted, wanted.wanted, "a restart changes the plan")


def check_a_state_that_lacks_an_array_is_refused(subject: _Subject) -> None:
    """With a sentence, not with a KeyError in the middle of the night."""
    planner = subject.make()
    if not (hasattr(planner, "state") and hasattr(planner, "restore")):
        return
    planned(planner, subject.story, subject.story.snapshot(0))
    state = planner.state()
    for name in state:
        try:
            planner.restore({key: array for key, array in state.items() if key != name})
        except InputError:
            continue
        except KeyError:
            require(holds=False, sentence=f"a state without '{name}' is a KeyError; raise InputError")
        require(holds=False, sentence=f"a state without '{name}' is accepted; raise InputError")


def check_rows_follow_their_workload(subject: _Subject) -> None:
    """The same fleet in another order, from some tick on, has the same plan in that order."""
    shuffled = (3, 0, 5, 1, 4, 2)
    for cards in (False, True):
        one, other = subject.make(), subject.make()
        for tick in range(16):
            order = shuffled if tick >= 5 else range(6)
            straight = subject.story.snapshot(tick, cards=cards)
            wanted = planned(one, subject.story, straight).wanted[..., list(order)]
            found = planned(other, subject.story, subject.story.snapshot(tick, order, cards=cards)).wanted
            limit = TOLERANCE_RATIO * straight.capacity[:, list(order)]
            close = (np.abs(found - wanted) <= limit) | (np.isnan(found) & np.isnan(wanted))
            require(close.all(), f"rows don't follow their workload: {found[~close]} not {wanted[~close]}")


def check_workloads_come_and_go(subject: _Subject) -> None:
    """Newcomers, leavers, new names, all at once, and back again."""
    fleets = [(0, 1, 2), (0, 1, 2, 3), (3, 1), (1,), (7, 8, 9, 1), (2, 0, 9), (10, 11)]
    for cards in (False, True):
        planner = subject.make()
        for tick, at in enumerate(np.repeat(np.arange(len(fleets)), 3)):
            snapshot = subject.story.snapshot(tick, fleets[at], cards=cards, renamed=tick % 2 == 1)
            planned(planner, subject.story, snapshot)


def check_workloads_are_resized(subject: _Subject) -> None:
    """What they are sold doubles and shrinks to a fifth."""
    for cards in (False, True):
        planner = subject.make()
        for tick, size in enumerate((1, 1, 2, 2, 0.2, 0.2, 1, 1)):
            planned(planner, subject.story, subject.story.snapshot(tick, size=size, cards=cards))


def check_an_unknown_capacity_spoils_nobody_else(subject: _Subject) -> None:
    """Who has no capacity yet may be wanted nothing for; the others' plans stay finite."""
    for cards in (False, True):
        planner = subject.make()
        for tick in range(6):
            snapshot = subject.story.snapshot(tick, unknown=(1, 4), cards=cards)
            planned(planner, subject.story, snapshot)


def check_a_silent_fleet_is_survived(subject: _Subject) -> None:
    """No sample from anyone: from the first tick, and in the middle."""
    for cards in (False, True):
        planner = subject.make()
        for tick in range(24):
            silent = tick < 3 or 10 <= tick < 16
            planned(planner, subject.story, subject.story.snapshot(tick, silent=silent, cards=cards))


def check_an_empty_fleet_is_survived(subject: _Subject) -> None:
    """Nobody there: at the first tick, and after everyone left."""
    for cards in (False, True):
        planner = subject.make()
        for tick, ids in enumerate([(), (), (0, 1), (0, 1), (), (1, 2)]):
            planned(planner, subject.story, subject.story.snapshot(tick, ids, cards=cards))


CHECKS: tuple[Callable[[_Subject], None], ...] = (
    check_a_plan_is_well_formed_at_every_tick,
    check_it_copes_without_a_forecast,
    check_what_it_was_given_stays,
    check_what_it_gave_stays,
    check_two_of_them_agree,
    check_it_goes_on_after_a_restart,
    check_a_state_that_lacks_an_array_is_refused,
    check_rows_follow_their_workload,
    check_workloads_come_and_go,
    check_workloads_are_resized,
    check_an_unknown_capacity_spoils_nobody_else,
    check_a_silent_fleet_is_survived,
    check_an_empty_fleet_is_survived,
)
