"""Consent: who may not be acted on holds, everyone else is left alone, and it is asked at every tick."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.autonomy import Autonomy, Level
from tidegate.model.plan import Reason
from tidegate.model.snapshot import expected
from tidegate.plan.consent import Consent
from tidegate.plan.difference import difference
from tidegate.testing import roster_of, snapshot_of
from tidegate.testing.random_fleets import check_guard, random_plan, random_snapshot

seeds = st.integers(0, 2**32 - 1)
NAMES = ("web", "db", "old")


class Asked:
    """What people said, and how often it was asked for."""

    def __init__(self, now):
        self.now = now
        self.times = 0

    def __call__(self):
        self.times += 1
        return self.now


def fleet(names=NAMES, held=2.0):
    return snapshot_of([1.0] * len(names), held=held, roster=roster_of(len(names), names=names))


def wants(snapshot, share):
    plan = random_plan(0, snapshot)
    wanted = np.where(snapshot.grant > 0, np.float32(share), np.float32(0))
    return replace(plan, wanted=wanted)


def levels(**of):
    return Autonomy(default=Level.OBSERVE, rules=tuple((name, to) for name, to in of.items()))


def test_each_is_held_for_its_own_reason():
    snapshot = fleet()
    plan = Consent(lambda: levels(web=Level.AUTO, db=Level.RECOMMEND)).shrink(wants(snapshot, 3), snapshot)
    assert plan.wanted[0, 0].tolist() == [3, 2, 2]
    assert plan.reason[0].tolist() == [Reason.BASELINE, Reason.HELD_RECOMMENDED, Reason.HELD_OBSERVED]


def test_a_pause_holds_everyone_and_says_so_to_whom_it_would_have_acted_on():
    snapshot = fleet()
    paused = replace(levels(web=Level.AUTO, db=Level.RECOMMEND), paused=True)
    plan = Consent(lambda: paused).shrink(wants(snapshot, 1), snapshot)
    assert len(difference(plan, snapshot)) == 0
    assert plan.reason[0].tolist() == [Reason.HELD_PAUSED, Reason.HELD_RECOMMENDED, Reason.HELD_OBSERVED]


def test_where_nothing_would_change_the_reason_of_the_policy_stays():
    snapshot = fleet()
    plan = Consent(levels).shrink(wants(snapshot, 2), snapshot)
    assert plan.reason[0].tolist() == [Reason.BASELINE] * 3


def test_it_is_asked_anew_at_every_tick_and_of_every_roster():
    asked, snapshot = Asked(levels()), fleet()
    guard = Consent(asked)
    assert guard.shrink(wants(snapshot, 3), snapshot).wanted[0, 0].tolist() == [2, 2, 2]
    asked.now = levels(db=Level.AUTO)
    assert guard.shrink(wants(snapshot, 3), snapshot).wanted[0, 0].tolist() == [2, 3, 2]
    others = fleet(("db", "new", "web", "db"))
    assert guard.shrink(wants(others, 3), others).wanted[0, 0].tolist() == [3, 2, 2, 3]
    asked.now = replace(asked.now, paused=True)
    assert guard.shrink(wants(others, 3), others).wanted[0, 0].tolist() == [2, 2, 2, 2]
    assert asked.times == 4


@given(seed=seeds, unknown=st.booleans(), paused=st.booleans(), migrating=st.booleans())
def test_whoever_may_be_acted_on_is_never_touched_and_nobody_else_changes(seed, unknown, paused, migrating):
    snapshot = random_snapshot(seed, unknown=unknown)
    plan = random_plan(seed, snapshot, migrating=migrating)
    chosen = np.random.default_rng(seed).integers(0, 3, len(snapshot.roster))
    rules = tuple((name, Level(to)) for name, to in zip(snapshot.roster.names, chosen.tolist(), strict=True))
    guard = Consent(lambda: Autonomy(default=Level.OBSERVE, rules=rules, paused=paused))
    left = check_guard(guard, plan, snapshot)
    free = np.zeros(chosen.shape, dtype=np.bool_) if paused else chosen == Level.AUTO
    np.testing.assert_array_equal(left.wanted[..., free], plan.wanted[..., free])
    np.testing.assert_array_equal(left.reason[:, free], plan.reason[:, free])
    np.testing.assert_array_equal(left.card[free], plan.card[free])
    np.testing.assert_array_equal(left.wanted[..., ~free], expected(snapshot)[..., ~free])
    np.testing.assert_array_equal(left.card[~free], snapshot.card[~free])
