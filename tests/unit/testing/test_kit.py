"""The kit can fail: for every check there is something it objects to, and it says what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.drivers.simulated.fleet import Fleet, SimulatedFleet
from tidegate.forecast.recent_peak import RecentPeak
from tidegate.model.errors import InputError
from tidegate.model.plan import Reason
from tidegate.model.resources import Resource
from tidegate.model.roster import CARD, HOST, NO_CARD, one_unbounded_server
from tidegate.model.trace import Trace
from tidegate.plan.policies.static import Static
from tidegate.testing import (
    ManualClock,
    ScriptedTelemetry,
    check_driver,
    check_forecaster,
    check_planner,
    driver_checks,
    forecaster_checks,
    places_of,
    planner_checks,
    snapshot_of,
)


class Peak(RecentPeak):
    """A good forecaster to spoil."""

    def __init__(self):
        super().__init__(step_seconds=300)


def spoiled_forecast(**change):
    """A forecaster whose forecasts are changed by functions of (forecast, snapshot), by field."""

    class Spoiled(Peak):
        def forecast(self, snapshot):
            made = super().forecast(snapshot)
            return replace(made, **{name: make(made, snapshot) for name, make in change.items()})

    return Spoiled


class Counts(Peak):
    """Another forecast at every question."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def forecast(self, snapshot):
        self.asked += 1
        made = super().forecast(snapshot)
        return replace(made, quantiles=made.quantiles + np.float32(self.asked))


class Shares(Peak):
    """Hands out one array again and again."""

    def forecast(self, snapshot):
        made = super().forecast(snapshot)
        if getattr(self, "kept", np.empty(0)).shape != made.quantiles.shape:
            self.kept = np.empty_like(made.quantiles)
        self.kept[:] = made.quantiles
        return replace(made, quantiles=self.kept)


class Good(Peak):
    """Checks what it restores."""

    def restore(self, state):
        missing = {"ids", "ring", "peak"} - set(state)
        if missing:
            raise InputError(f"{missing} is missing; start without saved state")
        super().restore(state)


class Forgets(Peak):
    """Restores nothing."""

    def restore(self, state):
        """Forget."""


class ByRow(Peak):
    """Thinks the row is the workload."""

    def forecast(self, snapshot):
        made = super().forecast(snapshot)
        rows = np.arange(made.quantiles.shape[-1], dtype=np.float32)
        return replace(made, quantiles=made.quantiles * (1 + rows))


class ByName(Peak):
    """Thinks the name is the workload."""

    def forecast(self, snapshot):
        made = super().forecast(snapshot)
        renamed = any(name.startswith("new") for name in snapshot.roster.names)
        return replace(made, quantiles=made.quantiles + np.float32(renamed))


class Poisoned(Peak):
    """One unknown capacity makes everyone unknown."""

    def forecast(self, snapshot):
        made = super().forecast(snapshot)
        if not np.isnan(snapshot.capacity).any():
            return made
        unknown = np.full_like(made.quantiles, np.nan)
        return replace(made, quantiles=unknown, profiling=np.ones_like(made.profiling))


BAD_FORECASTERS = {
    "a_forecast_is_well_formed_at_every_tick": spoiled_forecast(quantiles=lambda f, _s: -f.quantiles),
    "it_knows_what_it_saw": spoiled_forecast(
        quantiles=lambda f, _s: f.quantiles * np.float32(np.nan), profiling=lambda f, _s: ~f.profiling
    ),
    "what_it_gave_stays": Shares,
    "asking_twice_changes_nothing": Counts,
    "it_goes_on_after_a_restart": Forgets,
    "a_state_that_lacks_an_array_is_refused": Forgets,
    "rows_follow_their_workload": ByRow,
    "a_new_name_changes_nothing": ByName,
    "an_unknown_capacity_spoils_nobody_else": Poisoned,
    "workloads_come_and_go": spoiled_forecast(skill=lambda f, _s: f.skill[:, :1]),
}
MALFORMED = {
    "is float64": {"quantiles": lambda f, _s: f.quantiles.astype(np.float64)},
    "has shape": {"profiling": lambda f, _s: f.profiling[:, 1:]},
    "do not rise": {
        "levels": lambda _f, _s: np.float32([0.9, 0.5]), "quantiles": lambda f, _s: f.quantiles[[0, 0]]
    },
    "are not probabilities": {"levels": lambda _f, _s: np.float32([1.5])},
    "infinite": {"quantiles": lambda f, _s: f.quantiles + np.float32(np.inf)},
    "fall as levels rise": {
        "levels": lambda _f, _s: np.float32([0.5, 0.9]),
        "quantiles": lambda f, _s: np.concatenate([f.quantiles + np.float32(1), f.quantiles]),
    },
    "profiling is False": {"profiling": lambda f, _s: np.zeros_like(f.profiling)},
    "beyond the names": {"model": lambda f, _s: f.model + np.uint8(1)},
    "not the snapshot's": {"time_seconds": lambda _f, _s: 0},
    "above 0": {"lead_seconds": lambda _f, _s: 0},
}  # fmt: skip


def named(checks, name):
    (check,) = [check for check in checks if check.name == name]
    return check


@pytest.mark.parametrize("name", BAD_FORECASTERS)
def test_a_bad_forecaster_is_objected_to(name):
    with pytest.raises(AssertionError):
        named(forecaster_checks(BAD_FORECASTERS[name]), name)()


@pytest.mark.parametrize("said", MALFORMED)
def test_a_malformed_forecast_is_objected_to_in_words(said):
    with pytest.raises(AssertionError, match=said):
        check_forecaster(spoiled_forecast(**MALFORMED[said]))


def test_who_writes_into_what_it_was_given_fails_at_that_line():
    class Writes(Peak):
        def observe(self, snapshot):
            snapshot.used[:] = 0

    with pytest.raises(ValueError, match="read-only"):
        named(forecaster_checks(Writes), "what_it_was_given_stays")()


def spoiled_plan(**change):
    class Spoiled(Static):
        def plan(self, snapshot, forecast, scores):
            made = super().plan(snapshot, forecast, scores)
            return replace(made, **{name: make(made, snapshot) for name, make in change.items()})

    return Spoiled


def on_card(plan, snapshot):
    wanted = plan.wanted.copy()
    wanted[CARD], wanted[HOST] = wanted[HOST], 0
    return wanted


BAD_PLANS = {
    "more is wanted than was sold": {"wanted": lambda p, _s: p.wanted * np.float32(1.1)},
    "a share below 0": {"wanted": lambda p, _s: -p.wanted},
    "not finite where capacity is known": {"wanted": lambda p, _s: p.wanted * np.float32(np.nan)},
    "codes that mean nothing": {"reason": lambda p, _s: p.reason + np.uint8(200)},
    "expires before": {"expires_seconds": lambda p, _s: p.time_seconds},
    "without card": {"wanted": on_card},
    "shape": {"card": lambda p, _s: p.card[:-1]},
    "shortfall is negative": {"shortfall": lambda _p, s: np.full_like(s.capacity, -1)},
    "from the future": {"time_seconds": lambda _p, s: s.time_seconds + 1},
}


@pytest.mark.parametrize("said", BAD_PLANS)
def test_a_bad_plan_is_objected_to_in_words(said):
    with pytest.raises(AssertionError, match=said):
        check_planner(spoiled_plan(**BAD_PLANS[said]))


def test_a_planner_that_thinks_the_row_is_the_workload_is_objected_to():
    def by_row(plan, snapshot):
        rows = np.arange(plan.wanted.shape[-1], dtype=np.float32)
        return plan.wanted / (1 + rows)

    with pytest.raises(AssertionError, match="don't follow"):
        named(planner_checks(spoiled_plan(wanted=by_row)), "rows_follow_their_workload")()


def driver(kind=SimulatedFleet, **settings):
    rng = np.random.default_rng(1)
    used = rng.random((1, 40, 3), dtype=np.float32)
    trace = Trace(
        name="x", start_seconds=0, step_seconds=60, resources=(Resource.CPU,), vms=tuple("abc"), servers=(),
        used=used, capacity=np.ones_like(used),
    )  # fmt: skip
    fleet = Fleet(
        roster=snapshot_of([1.0] * 3).roster, places=one_unbounded_server(1),
        host=np.zeros(3, dtype=np.int32), card=np.full(3, NO_CARD, dtype=np.int32),
    )  # fmt: skip
    return lambda: kind(trace, fleet, **settings)


class Deaf(SimulatedFleet):
    def submit(self, actions):
        """Hear nothing."""


class Repeats(SimulatedFleet):
    last = None

    def collect(self):
        outcome = super().collect()
        self.last = outcome if len(outcome) else self.last
        return self.last if self.last is not None else outcome


class Optimist(SimulatedFleet):
    def collect(self):
        outcome = super().collect()
        return replace(outcome, amount_read_back=outcome.amount_read_back + np.float32(1))


class Secretive(SimulatedFleet):
    def read(self):
        snapshot = super().read()
        return replace(snapshot, in_flight=np.zeros_like(snapshot.in_flight))


class Hasty(SimulatedFleet):
    def read(self):
        super().read()
        return super().read()


class Reuses(SimulatedFleet):
    shown = None

    def read(self):
        snapshot = super().read()
        if self.shown is None:
            self.shown = snapshot.grant.copy()
        self.shown[:] = snapshot.grant
        return replace(snapshot, grant=self.shown)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Deaf, "not confirmed after"),
        (Repeats, "confirmed twice"),
        (Optimist, "was read back"),
        (Secretive, "held plus in flight is"),
        (Hasty, "one step would be"),
        (Reuses, "an earlier snapshot changed"),
    ],
)
def test_a_bad_driver_is_objected_to_in_words(kind, said):
    with pytest.raises(AssertionError, match=said):
        check_driver(driver(kind, lead_steps=2))


def test_good_ones_pass_and_all_that_fails_is_said_at_once():
    check_forecaster(Good)
    check_planner(Static)
    check_driver(driver())
    with pytest.raises(AssertionError) as caught:
        check_planner(spoiled_plan(expires_seconds=lambda _p, _s: 0))
    assert str(caught.value).count("\n") > 3


def test_checks_have_names_for_test_ids():
    names = [str(check) for check in (*planner_checks(Static), *driver_checks(driver()))]
    assert "what_it_gave_stays" in names
    assert all(name.isidentifier() for name in names)


def test_a_manual_clock_moves_forward_only():
    clock = ManualClock(5)
    clock.advance(10)
    assert clock.now_seconds() == 15
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_scripted_telemetry_ends_with_a_sentence():
    telemetry = ScriptedTelemetry([snapshot_of([1.0])])
    telemetry.read()
    with pytest.raises(InputError, match="script of 1 snapshots is over"):
        telemetry.read()


def test_places_are_linked_each_to_each_unless_said():
    places = places_of(servers=[8, 8], cards=[4])
    assert places.names == ("server-1", "server-2", "card-1")
    assert places.cards_of(1).tolist() == [2]
    assert places_of(servers=[8, 8], cards=[4], links=[(0, 2)]).cards_of(1).tolist() == []
    assert places.worth.tolist() == [[1, 1, 0.5]]


def test_everything_built_is_closed_for_writing():
    snapshot = snapshot_of([1.0], places=places_of(servers=[1]))
    for array in (snapshot.used, snapshot.grant, snapshot.roster.ids, snapshot.places.allocatable):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    assert Reason.HOLD == 0
