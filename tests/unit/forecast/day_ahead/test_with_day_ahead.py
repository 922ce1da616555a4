"""The day ahead is worth having, keeps within its seconds, and what goes wrong costs freshness alone."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.forecast.day_ahead import Speaker, at_once
from tidegate.forecast.engine import Engine
from tidegate.forecast.paths.simple import SeasonalNaive
from tidegate.model.day_ahead import DAY_HOURS, DAY_LEVELS, NEVER_SECONDS, NOBODY, Turn
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.testing import roster_of

DAY = 96
HOUR = 4


class Later:
    """Work that is done when the test says so."""

    def __init__(self):
        self.begun = []

    def __call__(self, work):
        self.begun.append(Held(work))
        return self.begun[-1]

    def finish(self):
        self.begun[-1].answers = self.begun[-1].work()


class Held:
    def __init__(self, work):
        self.work, self.answers = work, None

    def done(self):
        return self.answers is not None

    def result(self):
        return self.answers


class Broken:
    """Fits and answers until it breaks."""

    working = True

    def fit(self, panel):
        if not self.working:
            raise ValueError("no convergence")

    def paths(self, panel, horizon_steps):
        return SeasonalNaive().paths(panel, horizon_steps)


def loss_of_repeating_the_last(fleet, ticks):
    """The same loss, of saying that each hour of tomorrow is as the last sample."""
    losses = []
    for first in range(ticks.start + DAY, ticks.stop - HOUR, HOUR):
        peak = np.max([fleet.used(first + 1 + step) for step in range(HOUR)], axis=0) / 4
        off = peak - fleet.used(first - DAY) / 4
        levels = DAY_LEVELS[:, None]
        losses.append(np.maximum(levels * off, (levels - 1) * off).mean())
    return float(np.mean(losses))


def test_it_loses_less_than_who_repeats_the_last_value(fleet, wrapped, turned):
    of, made = fleet(), wrapped()
    day = turned(made, of, range(1, 5 * DAY))
    assert day.known.all()
    assert (day.turn == Turn.SCHEDULED).all()
    assert day.models == ("usual",)
    worst = loss_of_repeating_the_last(of, range(2 * DAY, 5 * DAY))
    assert float(day.loss.mean()) < 0.35 * worst
    np.testing.assert_allclose(day.coverage[1:].mean(axis=(1, 2)), DAY_LEVELS[1:], atol=0.08)
    assert (np.diff(day.quantiles, axis=0) >= 0).all()


def test_with_no_seconds_nothing_is_known(fleet, wrapped, turned):
    day = turned(wrapped(refit_seconds_max=0), fleet(), range(1, 4 * DAY))
    assert not day.known.any()
    assert np.isnan(day.loss).all()
    assert (day.model == NOBODY).all()
    assert (day.refreshed_seconds == NEVER_SECONDS).all()


def test_the_hours_are_those_of_the_clock_and_in_base_units(fleet, wrapped, turned):
    of = fleet(2)
    of.phase[:] = [0, np.pi]
    day = turned(wrapped(), of, range(1, 3 * DAY + 2 * HOUR + 1))
    assert day.start_seconds == 1_704_067_200 + 3 * 86_400 + 2 * 3600
    assert day.quantiles.shape == (4, DAY_HOURS, 1, 2)
    median = day.quantiles[0, :, 0]
    # sin is highest a quarter of a day after midnight; it is two o'clock.
    assert abs(int(median[:, 0].argmax()) - (6 - 2)) <= 1
    assert abs(int(median[:, 1].argmax()) - (18 - 2)) <= 1
    assert median.max() == pytest.approx(2.2, abs=0.15)


def test_a_round_costs_no_more_than_it_may_and_everyone_has_a_turn(fleet, wrapped, turned):
    fitted = []

    class Counted(SeasonalNaive):
        def fit(self, panel):
            fitted.append((panel.end_seconds, panel.names))

    of, made = fleet(12), wrapped(speaks=Counted, refit_seconds_max=4.0)
    turned(made, of, range(1, 3 * DAY))
    by_round = {}
    for end, names in fitted:
        by_round.setdefault(end // 3600, []).extend(names)
    assert max(len(names) for names in by_round.values()) <= 3
    assert {name for names in by_round.values() for name in names} == {str(one) for one in range(1, 13)}


def test_who_changes_is_refreshed_before_its_turn(fleet, wrapped, turned):
    """Detected by the engine itself; one fit an hour takes twelve hours to go round."""
    of = fleet(12)
    changed, since = 5, 3 * DAY + 1
    of.raised[changed] = since, 1.5
    engine = Engine(resources=(Resource.CPU,), step_seconds=900, lead_steps=1, seed=0)
    fits = []

    class Noted(SeasonalNaive):
        def fit(self, panel):
            fits.append((panel.end_seconds, panel.names))

    made = wrapped(engine, speaks=Noted, refit_seconds_max=2.0)
    turned(made, of, range(1, since))
    noticed = None
    for tick in range(since, since + DAY):
        snapshot = of.snapshot(tick)
        made.observe(snapshot)
        forecast = made.forecast(snapshot)
        if noticed is not None:
            break
        if forecast.drift.noticed[0, changed]:
            noticed = tick
    assert noticed is not None
    assert forecast.day.turn[0, changed] == Turn.DRIFTED
    assert forecast.day.refreshed_seconds[0, changed] == of.snapshot(noticed + 1).time_seconds
    assert fits[-1] == (of.snapshot(noticed + 1).time_seconds, (str(changed + 1),))


def test_a_fit_that_fails_leaves_the_day_as_it_was_and_is_told_once(fleet, wrapped, turned, monkeypatch):
    said = []
    of, made = fleet(3), wrapped(speaks=Broken, tell=said.append)
    before = turned(made, of, range(1, 2 * DAY))
    monkeypatch.setattr(Broken, "working", False)
    after = turned(made, of, range(2 * DAY, 2 * DAY + 3 * HOUR))
    assert said == ["the day ahead stays as it was for some series: usual failed: ValueError: no convergence"]
    assert (after.refreshed_seconds == before.refreshed_seconds).all()
    np.testing.assert_array_equal(after.quantiles[:, :12], before.quantiles[:, 3:15])


def test_ticks_wait_for_no_work_and_falling_behind_is_told(fleet, wrapped, turned):
    said, later = [], Later()
    of, made = fleet(3), wrapped(run=later, tell=said.append)
    day = turned(made, of, range(1, DAY + 2 * HOUR + 1))
    assert len(later.begun) == 1
    assert not day.known.any()
    assert said == [
        "the day ahead falls behind: a round's work was not done when the next began; what was said stands"
    ]
    later.finish()
    # The next piece is under way already: what came of the last is shown when the hour is over.
    day = turned(made, of, range(DAY + 2 * HOUR + 1, DAY + 3 * HOUR + 1))
    assert day.known.all()
    # It was said three hours ago: the hours since are not told, those then beyond a day are.
    assert not np.isnan(day.quantiles).any()
    assert (day.refreshed_seconds == 1_704_067_200 + 86_400).all()


def test_a_runner_that_raises_is_told_too(fleet, wrapped, turned):
    class Raises(Held):
        def done(self):
            return True

        def result(self):
            raise OSError("no thread")

    said = []
    turned(wrapped(run=Raises, tell=said.append), fleet(2), range(1, DAY + 2))
    assert said == ["the day ahead stays as it was for some series: the work failed: OSError: no thread"]


def test_closed_it_begins_nothing(fleet, wrapped, turned):
    made = wrapped()
    made.close()
    assert not turned(made, fleet(2), range(1, 2 * DAY)).known.any()


def test_days_follow_their_workload_whatever_it_is_called_and_wherever_it_stands(fleet, wrapped, turned):
    of = fleet(4)
    one, other = wrapped(), wrapped()
    turned(one, of, range(1, 2 * DAY))
    turned(other, of, range(1, 2 * DAY))
    order = [2, 0, 3]
    roster = roster_of(3, ids=np.array(order) + 1, names=["c", "a", "d"])
    for tick in range(2 * DAY, 2 * DAY + 6 * HOUR):
        whole = turned(one, of, [tick])
        some = turned(other, of, [tick], roster=roster, rows=order)
        np.testing.assert_allclose(some.quantiles, whole.quantiles[..., order], rtol=1e-3)
    # Who comes back has been forgotten.
    back = turned(other, of, [2 * DAY + 6 * HOUR])
    assert back.known.tolist() == [[True, False, True, True]]


def test_a_resize_changes_what_a_share_is_worth_and_nothing_else(fleet, wrapped, turned):
    of, made, idle = fleet(3), wrapped(), wrapped()
    before = turned(made, of, range(1, 3 * DAY - 1))
    turned(idle, of, range(1, 3 * DAY - 1))
    idle.close()
    stands = turned(idle, of, [3 * DAY - 1], capacity=16.0)
    np.testing.assert_allclose(stands.quantiles, before.quantiles, rtol=2e-3)
    # The history is in shares of the new size too: what is said anew is of the same amounts.
    anew = turned(made, of, [3 * DAY - 1], capacity=16.0)
    assert (anew.turn == Turn.RESIZED).all()
    np.testing.assert_allclose(anew.quantiles[0], before.quantiles[0], atol=0.2)


def test_the_largest_are_kept_where_not_all_can_be(fleet, wrapped, turned):
    of = fleet(6)
    sold = np.array([4, 8, 2, 16, 4, 1], dtype=np.float32)
    day = turned(wrapped(series_max=3), of, range(1, 2 * DAY), capacity=sold)
    assert np.flatnonzero(day.known[0]).tolist() == [0, 1, 3]


def test_a_clock_that_goes_back_a_little_is_waited_for_and_far_begins_anew(fleet, wrapped, turned):
    of, made = fleet(2), wrapped()
    before = turned(made, of, range(1, 2 * DAY))
    waited = turned(made, of, [2 * DAY - 3])
    np.testing.assert_array_equal(waited.quantiles, before.quantiles)
    assert not turned(made, of, [DAY]).known.any()
    assert turned(made, of, range(DAY + 1, 2 * DAY + HOUR + 2)).known.all()


@pytest.mark.parametrize("lost", [3, 40, 3 * DAY, 40 * DAY])
def test_lost_ticks_cost_their_samples_and_no_more(fleet, wrapped, turned, lost):
    of, made = fleet(2), wrapped()
    turned(made, of, range(1, 3 * DAY))
    day = turned(made, of, range(3 * DAY + lost, 3 * DAY + lost + 2 * HOUR))
    assert day.start_seconds == of.snapshot(3 * DAY + lost + 2 * HOUR - 1).time_seconds // 3600 * 3600
    assert day.known.all()
    assert np.isfinite(day.quantiles).all()


def test_a_restart_goes_on_with_what_was_said(fleet, wrapped, turned):
    of, one, other = fleet(5), wrapped(), wrapped()
    before = turned(one, of, range(1, 2 * DAY))
    other.restore({name: np.array(array) for name, array in one.state().items()})
    # Within the hour it says the same; then fitted models are made anew and all is as before.
    for ticks in ([2 * DAY], range(2 * DAY + 1, 3 * DAY)):
        wanted, found = turned(one, of, ticks), turned(other, of, ticks)
        assert (found.models, found.start_seconds) == (wanted.models, wanted.start_seconds)
        assert found.known.all()
        np.testing.assert_array_equal(found.loss, wanted.loss)
    assert before.known.all()


def test_saved_without_it_a_loop_goes_on_with_it_and_the_other_way_round(fleet, wrapped, turned):
    of = fleet(3)
    given = {"resources": (Resource.CPU,), "step_seconds": 900, "lead_steps": 1, "seed": 0}
    plain, made = Engine(**given), wrapped(Engine(**given))
    turned(made, of, range(1, DAY + 8))
    for tick in range(1, 8):
        plain.observe(of.snapshot(tick))
    Engine(**given).restore(made.state())
    again = wrapped(Engine(**given))
    again.restore(plain.state())
    assert not turned(again, of, [8]).known.any()


def test_a_state_of_another_step_is_refused(fleet, wrapped, turned):
    made = wrapped()
    turned(made, fleet(2), range(1, 9))
    with pytest.raises(InputError, match="start without saved state"):
        wrapped(step=300).restore(made.state())


def test_a_trained_model_is_asked_and_never_fitted(fleet, wrapped, turned):
    class Trained(SeasonalNaive):
        asked = 0

        def fit(self, panel):
            raise AssertionError

        def paths(self, panel, horizon_steps):
            self.asked += len(panel.names)
            return super().paths(panel, horizon_steps)

    model = Trained()
    speaker = Speaker(name="ridge-1", paths_seconds=0.5, trained=model)
    day = turned(wrapped(speaker=speaker, refit_seconds_max=2), fleet(6), range(1, DAY + 1 + 6 * HOUR))
    assert day.known.all()
    assert day.models == ("ridge-1",)
    assert model.asked == 7 * 3


def test_fitted_models_that_nobody_needs_are_let_go(fleet, wrapped, turned):
    made = wrapped(refit_seconds_max=1000)
    turned(made, fleet(40), range(1, 2 * DAY))
    assert len(made._refreshing._instances) == 2


def test_the_record_it_hands_out_does_not_change(fleet, wrapped, turned):
    of, made = fleet(3), wrapped()
    day = turned(made, of, range(1, 2 * DAY))
    kept = day.quantiles.copy()
    again = turned(made, of, [2 * DAY - 1])
    assert again is day
    turned(made, of, range(2 * DAY, 2 * DAY + 9))
    np.testing.assert_array_equal(day.quantiles, kept)


def test_a_speaker_is_one_or_the_other():
    with pytest.raises(InputError, match="either trained or made fresh"):
        Speaker(name="x", paths_seconds=1)
    with pytest.raises(InputError, match="costs 0 s"):
        Speaker(name="x", paths_seconds=0, fresh=SeasonalNaive)


def test_at_once_is_done():
    assert at_once(lambda: ["answer"]).result() == ["answer"]
