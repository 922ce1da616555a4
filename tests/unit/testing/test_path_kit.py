"""The kit for path forecasters can fail: for every check there is something it objects to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.forecast.paths.simple import Last
from tidegate.forecast.paths.usual import Usual
from tidegate.testing import check_path_forecaster, path_forecaster_checks


def spoiled(change):
    """A forecaster whose quantiles are changed by a function of (quantiles, panel)."""

    class Spoiled(Last):
        def paths(self, panel, horizon_steps):
            made = super().paths(panel, horizon_steps)
            return replace(made, quantiles=change(made.quantiles.copy(), panel))

    return Spoiled


def lifted(quantiles, by):
    return np.clip(quantiles + np.float32(by), 0, 1)


class Moody(Last):
    """Another answer at each question."""

    asked = 0

    def paths(self, panel, horizon_steps):
        self.asked += 1
        made = super().paths(panel, horizon_steps)
        return replace(made, quantiles=lifted(made.quantiles, 0.01 * self.asked))


class Seedless(Last):
    """Another answer from each instance."""

    made = 0

    def __init__(self):
        super().__init__()
        Seedless.made += 1
        self.number = Seedless.made

    def paths(self, panel, horizon_steps):
        made = super().paths(panel, horizon_steps)
        return replace(made, quantiles=lifted(made.quantiles, 0.01 * self.number))


class OneBuffer(Last):
    """Hands out the array it goes on writing into."""

    buffer = np.zeros((11, 288, 8), dtype=np.float32)

    def paths(self, panel, horizon_steps):
        made = super().paths(panel, horizon_steps)
        view = self.buffer[:, :horizon_steps, : len(panel.names)]
        view[:] = lifted(made.quantiles, panel.steps / 1e5)
        return replace(made, quantiles=view)


class Filling(Last):
    """Fills gaps where they are."""

    def fit(self, panel):
        panel.shares.flags.writeable = True
        np.nan_to_num(panel.shares, copy=False)


class Frozen(Last):
    """Answers every panel as the one it learned from."""

    def fit(self, panel):
        self.panel = panel

    def paths(self, panel, horizon_steps):
        learned = getattr(self, "panel", panel)
        same = learned.shares.shape[1] == panel.shares.shape[1]
        made = super().paths(learned if same else panel, horizon_steps)
        return replace(made, end_seconds=panel.end_seconds, step_seconds=panel.step_seconds)


class Seeing(Last):
    """Looks behind the panel's end, where its samples happen to lie, or asks a feed for all it has."""

    def __init__(self, *, feeds):
        super().__init__()
        self.feeds = feeds

    def paths(self, panel, horizon_steps):
        made = super().paths(panel, horizon_steps)
        seen = panel.shares if panel.shares.base is None else panel.shares.base
        peek = seen[-1, 0] if not self.feeds and seen.shape[0] > panel.steps else 0
        for feed in panel.feeds if self.feeds else ():
            peek = feed.values[-1] / 100
        return replace(made, quantiles=lifted(made.quantiles, peek / 2))


class Needy(Last):
    """Knows only series it has a day of, and steps of five minutes."""

    def fit(self, panel):
        if panel.step_seconds != 300:
            raise AssertionError("steps of 300 seconds only")

    def paths(self, panel, horizon_steps):
        if panel.steps < 288:
            raise AssertionError("less than a day")
        return super().paths(panel, horizon_steps)


class Unfit(Last):
    """Needs a fit and says nothing."""

    fitted = False

    def fit(self, panel):
        self.fitted = True
        self.names = panel.names

    def paths(self, panel, horizon_steps):
        if not self.fitted:
            raise RuntimeError
        if not set(panel.names) <= set(self.names):
            raise AssertionError("another series")
        return super().paths(panel, horizon_steps)


class Forgetful(Last):
    """Saves something and restores nothing."""

    kept = 0.0

    def fit(self, panel):
        self.kept = 0.1

    def paths(self, panel, horizon_steps):
        made = super().paths(panel, horizon_steps)
        return replace(made, quantiles=lifted(made.quantiles, self.kept))

    def state(self):
        return {"kept": np.array(self.kept)}

    def restore(self, state):
        pass


class Careless(Forgetful):
    """Restores, and stumbles over what is missing."""

    def restore(self, state):
        self.kept = float(state["kept"])


class Trusting(Forgetful):
    """Restores what there is."""

    def restore(self, state):
        self.kept = float(state.get("kept", self.kept))


BROKEN = [
    (spoiled(lambda quantiles, _: quantiles[:, :-1]), "a_path_is_well_formed", "has shape"),
    (spoiled(lambda quantiles, _: quantiles.astype(np.float64)), "a_path_is_well_formed", "float64"),
    (spoiled(lambda quantiles, _: quantiles[::-1]), "a_path_is_well_formed", "fall as levels rise"),
    (spoiled(lambda quantiles, _: quantiles + 1), "a_path_is_well_formed", "above 1"),
    (spoiled(lambda quantiles, _: quantiles - 1), "a_path_is_well_formed", "below 0"),
    (
        spoiled(lambda quantiles, panel: quantiles + 0 * np.nan_to_num(panel.shares[-1:], nan=np.nan)),
        "a_path_is_well_formed",
        "series missing",
    ),
    (Moody, "asking_twice", "other paths"),
    (Seedless, "two_of_them_agree", "same seed"),
    (OneBuffer, "what_it_gave_stays", "earlier paths"),
    (Filling, "what_it_was_given_stays", "written into"),
    (Frozen, "a_later_panel", "newest samples count"),
    (lambda: Seeing(feeds=False), "what_comes_after_the_end", "samples after"),
    (lambda: Seeing(feeds=True), "what_comes_after_the_end", "what a feed tells after"),
    (spoiled(lambda quantiles, _: lifted(quantiles, 0.3)), "a_constant_series", "median 0.30 from it"),
    (Needy, "little_history", "less than a day"),
    (Needy, "other_steps", "300 seconds only"),
    (Unfit, "other_series", "another series"),
    (Unfit, "without_a_fit", "no sentence"),
    (Forgetful, "it_goes_on_after_a_restart", "a restart changes"),
    (Careless, "it_goes_on_after_a_restart", "KeyError"),
    (Trusting, "it_goes_on_after_a_restart", "is accepted"),
]


@pytest.mark.parametrize(("make", "name", "said"), BROKEN)
def test_it_objects(make, name, said):
    (check,) = (each for each in path_forecaster_checks(make, of_any_series=True) if name in each.name)
    with pytest.raises(AssertionError, match=said):
        check()


def test_every_check_has_something_to_object_to():
    names = {each.name for each in path_forecaster_checks(Last)}
    assert all(any(part in name for _, part, _ in BROKEN) for name in names)


def test_it_names_every_check_that_fails_in_one_error():
    with pytest.raises(AssertionError, match=r"asking_twice.*\n.*two_of_them_agree"):
        check_path_forecaster(Moody)


@pytest.mark.parametrize("make", [Last, Usual])
def test_good_ones_pass(make):
    check_path_forecaster(make)
