"""What every driver is held to that reads a fleet and acts on it, simulated or real."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tidegate.model.outcome import Phase
from tidegate.model.plan import Actions, Kind
from tidegate.model.roster import HOST, NO_CARD, SHARES
from tidegate.ports import Actuator, Clock, TelemetrySource
from tidegate.testing.checks import checks_of, require, require_array, require_same, run_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.model.outcome import Outcome
    from tidegate.model.snapshot import Snapshot
    from tidegate.testing.checks import Check


class Driver(Clock, TelemetrySource, Actuator, Protocol):
    """Clock, telemetry and actuator of one fleet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    make: Callable[[], Driver]
    patience_ticks: int


def check_driver(make: Callable[[], Driver], *, patience_ticks: int = 8) -> None:
    """Run every check on drivers that ``make`` returns, each with a fleet of its own.

    An action must be confirmed within ``patience_ticks`` reads; the fleet must last twice as many.

    Raises:
        AssertionError: at least one check fails; a line for each says what.

    """
    run_all(driver_checks(make, patience_ticks=patience_ticks))


def driver_checks(make: Callable[[], Driver], *, patience_ticks: int = 8) -> tuple[Check, ...]:
    """Return the checks one by one."""
    return checks_of(_Subject(make=make, patience_ticks=patience_ticks), CHECKS)


def resized(snapshot: Snapshot, ratio: float) -> Actions:
    """Return the actions that give every known host share ``ratio`` of what was sold."""
    resource, workload = np.nonzero(np.isfinite(snapshot.grant[HOST]) & np.isfinite(snapshot.capacity))
    share = np.full(workload.size, HOST, dtype=np.uint8)
    expected = (snapshot.grant + snapshot.in_flight)[HOST]
    place = snapshot.host[workload].astype(np.int32)
    return Actions(
        time_seconds=snapshot.time_seconds,
        expires_seconds=snapshot.time_seconds + snapshot.step_seconds,
        kind=np.full(workload.size, Kind.RESIZE, dtype=np.uint8),
        workload=workload,
        workload_id=snapshot.roster.ids[workload],
        resource_row=resource.astype(np.uint8),
        share=share,
        place_from=place,
        place_to=place,
        amount_from=expected[resource, workload],
        amount_to=(np.float32(ratio) * snapshot.capacity)[resource, workload],
        resources=snapshot.resources,
        place_names=snapshot.places.names,
    )


def _require_well_formed(snapshot: Snapshot) -> None:
    workloads = len(snapshot.roster)
    shape = len(snapshot.resources), workloads
    for name in ("used", "capacity"):
        require_array(getattr(snapshot, name), name, shape=shape, dtype=np.float32)
    require_array(snapshot.pressed, "pressed", shape=shape, dtype=np.bool_)
    require_array(snapshot.grant, "grant", shape=(SHARES, *shape), dtype=np.float32)
    require_array(snapshot.in_flight, "in_flight", shape=(SHARES, *shape), dtype=np.float32)
    require_array(snapshot.host, "host", shape=(workloads,), dtype=np.int32)
    require_array(snapshot.card, "card", shape=(workloads,), dtype=np.int32)
    missing = np.isnan(snapshot.used)
    require((missing | (snapshot.used >= 0)).all(), "a sample is negative")
    require(not (missing & snapshot.pressed).any(), "a missing sample is pressed")
    is_card = snapshot.places.is_card
    require(not is_card[snapshot.host].any(), "a workload's host is a card")
    require(is_card[snapshot.card[snapshot.card != NO_CARD]].all(), "a workload's card is no card")


def _require_applied(outcome: Outcome, actions: Actions, snapshot: Snapshot) -> None:
    """Everything confirmed was applied, as asked, and is what the fleet now holds."""
    require((outcome.phase == Phase.APPLIED).all(), "an action on a healthy fleet was not applied")
    asked = dict(zip(_keys(actions), actions.amount_to.tolist(), strict=True))
    holds = {
        (HOST, row, int(identity)): float(snapshot.grant[HOST, row, at])
        for row in range(len(snapshot.resources))
        for at, identity in enumerate(snapshot.roster.ids)
    }
    for key, amount in zip(_keys(outcome), outcome.amount_read_back.tolist(), strict=True):
        require(key in asked, f"an action that nobody submitted was confirmed: {key}")
        require(amount == asked[key], f"{key}: {amount} was read back, {asked[key]} was asked")
        require(amount == holds[key], f"{key}: {amount} was read back, the grant says {holds[key]}")


def _keys(rows: Actions | Outcome) -> list[tuple[int, int, int]]:
    """Share, resource row and workload of each row."""
    return list(zip(rows.share.tolist(), rows.resource_row.tolist(), rows.workload_id.tolist(), strict=True))


def check_a_read_moves_time_by_one_step(subject: _Subject) -> None:
    """The snapshot's time is the clock's, and the next is one step later."""
    driver = subject.make()
    last = None
    for _ in range(subject.patience_ticks):
        snapshot = driver.read()
        _require_well_formed(snapshot)
        now = driver.now_seconds()
        require(now == snapshot.time_seconds, f"the clock says {now}, the snapshot {snapshot.time_seconds}")
        expected = now if last is None else last + snapshot.step_seconds
        require(now == expected, f"a read moved time to {now}, one step would be {expected}")
        last = now


def check_nothing_is_confirmed_before_it_is_asked(subject: _Subject) -> None:
    """No outcome without an action."""
    driver = subject.make()
    require(len(driver.collect()) == 0, "an action was confirmed before the first read")
    driver.read()
    require(len(driver.collect()) == 0, "an action was confirmed that nobody submitted")


def check_each_action_is_confirmed_exactly_once(subject: _Subject) -> None:
    """What was submitted comes back once, with the value that now holds."""
    driver = subject.make()
    actions = resized(driver.read(), 0.5)
    driver.submit(actions)
    confirmed: list[tuple[int, int, int]] = []
    for _ in range(subject.patience_ticks):
        snapshot = driver.read()
        outcome = driver.collect()
        _require_applied(outcome, actions, snapshot)
        confirmed += _keys(outcome)
    twice = len(confirmed) - len(set(confirmed))
    require(twice == 0, f"{twice} actions were confirmed twice")
    open_ones = sorted(set(_keys(actions)) - set(confirmed))
    require(not open_ones, f"not confirmed after {subject.patience_ticks} reads: {open_ones[:3]}")


def check_in_flight_is_what_is_not_yet_confirmed(subject: _Subject) -> None:
    """Held plus in flight is what was asked, from submission to confirmation; then nothing is in flight."""
    driver = subject.make()
    actions = resized(driver.read(), 0.25)
    driver.submit(actions)
    at = actions.share, actions.resource_row, actions.workload
    for _ in range(subject.patience_ticks):
        snapshot = driver.read()
        outcome = driver.collect()
        expected = (snapshot.grant + snapshot.in_flight)[at]
        close = np.isclose(expected, actions.amount_to, rtol=1e-6)
        require(close.all(), f"held plus in flight is {expected[~close][:3]}, not what was asked")
        if len(outcome):
            require_same(snapshot.in_flight, np.zeros_like(snapshot.in_flight), "confirmed, but in flight")
            return
        require(snapshot.in_flight[at].any(), "an action is neither in flight nor confirmed")
    require(holds=False, sentence=f"nothing was confirmed after {subject.patience_ticks} reads")


def check_overlapping_actions_leave_nothing_in_flight(subject: _Subject) -> None:
    """A change at every tick, then none: once all are confirmed, exactly the last is held."""
    driver = subject.make()
    last = resized(driver.read(), 0.9)
    driver.submit(last)
    for turn in range(1, subject.patience_ticks):
        last = resized(driver.read(), 0.9 - 0.1 * turn / 3)
        driver.submit(last)
    for _ in range(subject.patience_ticks - 1):
        driver.read()
        driver.collect()
    snapshot = driver.read()
    at = last.share, last.resource_row, last.workload
    require_same(snapshot.grant[at], last.amount_to, "the last change is not what is held")
    require_same(snapshot.in_flight[at], np.zeros_like(last.amount_to), "all confirmed, but in flight")


def check_no_action_is_no_action(subject: _Subject) -> None:
    """An empty change set changes nothing."""
    driver = subject.make()
    before = driver.read()
    driver.submit(_none_of(resized(before, 0.5)))
    after = driver.read()
    for _ in range(subject.patience_ticks):
        require(len(driver.collect()) == 0, "an empty change set was confirmed as an action")
        after = driver.read()
    known = np.isfinite(before.capacity)  # who comes late is given what was sold, by nobody's action
    require_same(after.grant[:, known], before.grant[:, known], "an empty change set changed a grant")


def check_what_was_read_stays(subject: _Subject) -> None:
    """A snapshot is a fact of its time: later actions and reads don't change it."""
    driver = subject.make()
    early = driver.read()
    before = early.grant.copy(), early.used.copy(), early.in_flight.copy(), early.card.copy()
    driver.submit(resized(early, 0.5))
    for _ in range(subject.patience_ticks):
        driver.read()
        driver.collect()
    for kept, found in zip(before, (early.grant, early.used, early.in_flight, early.card), strict=True):
        require_same(found, kept, "an earlier snapshot changed when later ones were read")


def check_two_of_them_agree(subject: _Subject) -> None:
    """The same fleet and the same actions give the same snapshots."""
    one, other = subject.make(), subject.make()
    for turn in range(subject.patience_ticks):
        left, right = one.read(), other.read()
        require_same(right.used, left.used, "two drivers of one fleet saw other samples")
        require_same(right.grant, left.grant, "two drivers of one fleet hold other grants")
        one.submit(resized(left, 1 - 0.05 * turn))
        other.submit(resized(right, 1 - 0.05 * turn))


CHECKS: tuple[Callable[[_Subject], None], ...] = (
    check_a_read_moves_time_by_one_step,
    check_nothing_is_confirmed_before_it_is_asked,
    check_each_action_is_confirmed_exactly_once,
    check_in_flight_is_what_is_not_yet_confirmed,
    check_overlapping_actions_leave_nothing_in_flight,
    check_no_action_is_no_action,
    check_what_was_read_stays,
    check_two_of_them_agree,
)


def _none_of(actions: Actions) -> Actions:
    """The same change set without any row."""
    none = np.zeros(0, dtype=np.int64)
    return Actions(
        time_seconds=actions.time_seconds,
        expires_seconds=actions.expires_seconds,
        kind=actions.kind[none],
        workload=actions.workload[none],
        workload_id=actions.workload_id[none],
        resource_row=actions.resource_row[none],
        share=actions.share[none],
        place_from=actions.place_from[none],
        place_to=actions.place_to[none],
        amount_from=actions.amount_from[none],
        amount_to=actions.amount_to[none],
        resources=actions.resources,
        place_names=actions.place_names,
    )
