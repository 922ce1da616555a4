"""What every path forecaster is held to, whatever it believes about the future."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.errors import InputError
from tidegate.model.feed import Feed, FeedKind
from tidegate.model.panel import Panel
from tidegate.model.paths import PATH_LEVELS
from tidegate.testing.checks import checks_of, require, require_array, require_same, run_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    from tidegate.model.paths import Paths
    from tidegate.ports import PathForecaster
    from tidegate.testing.checks import Check

START_SECONDS: Final = 1_375_315_200
"""A Thursday, 0:00 UTC."""
DAY_SECONDS: Final = 86_400
STEPS_SECONDS: Final = (300, 900, 3600)
KINDS: Final = ("daily", "spiky", "constant", "missing", "gaps", "newcomer", "bursts", "wandering")
"""What the series are, in this order: see `panel_of`."""
CONSTANT: Final = 0.25
CONSTANT_TOLERANCE: Final = 0.2
"""How far from a constant series' only value its median may be: who learned from others may lean to them."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Subject:
    make: Callable[[], PathForecaster]
    of_any_series: bool
    days: int
    fitted_once: list[PathForecaster] = field(default_factory=list)

    def fitted(self) -> PathForecaster:
        """Return one forecaster that learned from the panel, the same each time: fits may be dear."""
        if not self.fitted_once:
            forecaster = self.make()
            forecaster.fit(self.panel())
            self.fitted_once.append(forecaster)
        return self.fitted_once[0]

    def panel(self, step_seconds: int = 300, *, more: int = 0, seed: int = 7) -> Panel:
        """Return the panel it learned from, and ``more`` steps."""
        return panel_of(self.days * DAY_SECONDS // step_seconds + more, step_seconds, seed=seed)


def check_path_forecaster(
    make: Callable[[], PathForecaster], *, of_any_series: bool = False, days: int = 3
) -> None:
    """Run every check on forecasters that ``make`` returns, each a new one with the same seed.

    ``of_any_series`` says that what it learned from some series serves others too; ``days`` how long the
    histories are.

    Raises:
        AssertionError: at least one check fails; a line for each says what.

    """
    run_all(path_forecaster_checks(make, of_any_series=of_any_series, days=days))


def path_forecaster_checks(
    make: Callable[[], PathForecaster], *, of_any_series: bool = False, days: int = 3
) -> tuple[Check, ...]:
    """Return the checks one by one."""
    return checks_of(_Subject(make=make, of_any_series=of_any_series, days=days), CHECKS)


def panel_of(steps: int, step_seconds: int = 300, *, seed: int = 7) -> Panel:
    """Return a panel of one series of each of `KINDS`; its arrays are read-only.

    A longer panel of the same seed and step starts like a shorter one.
    """
    chance = np.random.default_rng(seed)
    noise = chance.standard_normal((steps, len(KINDS))).astype(np.float32)
    lost = chance.random((steps, 2))
    slot = np.arange(steps) * step_seconds % DAY_SECONDS
    shares = np.empty((steps, len(KINDS)), dtype=np.float32)
    shares[:, 0] = 0.4 + 0.2 * np.sin(2 * np.pi * slot / DAY_SECONDS) + 0.03 * noise[:, 0]
    shares[:, 1] = np.where(slot // 3600 % 6 == 2, 0.8, 0.05) + 0.01 * noise[:, 1]
    shares[:, 2] = CONSTANT
    shares[:, 3] = np.nan
    shares[:, 4] = np.where(lost[:, 0] < 0.3, np.nan, 0.3 + 0.05 * noise[:, 4])
    shares[:, 5] = 0.5 + 0.1 * noise[:, 5]
    shares[: 2 * DAY_SECONDS // step_seconds, 5] = np.nan
    shares[:, 6] = np.where(lost[:, 1] < 0.05, 1, 0.02)
    shares[:, 7] = 0.4 + 0.1 * np.sin(np.cumsum(0.1 * noise[:, 7]))
    np.clip(shares, 0, 1, out=shares)
    capacity = np.array([4, 1, 2, 8, 4, 16, 1, 2], dtype=np.float32)
    shares.flags.writeable = capacity.flags.writeable = False
    return Panel(
        start_seconds=START_SECONDS,
        step_seconds=step_seconds,
        names=KINDS,
        shares=shares,
        capacity=capacity,
        groups=tuple(f"server-{at % 2}" for at in range(len(KINDS))),
    )


def answer(forecaster: PathForecaster, panel: Panel, horizon_steps: int) -> NDArray[np.float32]:
    """Ask, require a well-formed answer, and return its quantiles (levels, steps, series)."""
    paths = forecaster.paths(panel, horizon_steps)
    _require_well_formed(paths, panel, horizon_steps)
    return paths.quantiles


def _require_well_formed(paths: Paths, panel: Panel, horizon_steps: int) -> None:
    shape = (PATH_LEVELS.size, horizon_steps, len(panel.names))
    require_array(paths.quantiles, "quantiles", shape=shape, dtype=np.float32)
    require(paths.end_seconds == panel.end_seconds, "end_seconds is not the panel's")
    require(paths.step_seconds == panel.step_seconds, "step_seconds is not the panel's")
    unknown = np.isnan(paths.quantiles).any(axis=(0, 1))
    named = ", ".join(panel.names[at] for at in np.flatnonzero(unknown))
    require(not unknown.any(), f"a quantile is NaN (series {named}); say 0 to 1 evenly instead")
    require((paths.quantiles >= 0).all(), "a quantile is below 0: paths are shares of capacity")
    require((paths.quantiles <= 1).all(), "a quantile is above 1: paths are shares of capacity")
    require((np.diff(paths.quantiles, axis=0) >= 0).all(), "quantiles fall as levels rise")


def check_a_path_is_well_formed_at_every_horizon(subject: _Subject) -> None:
    """Shape, type, levels that rise, shares of capacity: for one step, an hour and a day."""
    for horizon in (1, 12, 288):
        answer(subject.fitted(), subject.panel(), horizon)


def check_what_it_was_given_stays(subject: _Subject) -> None:
    """The arrays are read-only already; this also catches whoever opened them."""
    panel = subject.panel()
    before = panel.shares.tobytes() + panel.capacity.tobytes()
    forecaster = subject.make()
    forecaster.fit(panel)
    answer(forecaster, panel, 12)
    require(before == panel.shares.tobytes() + panel.capacity.tobytes(), "the panel was written into")


def check_what_it_gave_stays(subject: _Subject) -> None:
    """A path already handed out is scored later: it must not change."""
    forecaster = subject.fitted()
    early = answer(forecaster, subject.panel(), 12)
    kept = early.copy()
    answer(forecaster, subject.panel(more=7), 12)
    require_same(early, kept, "earlier paths changed when others were asked for")


def check_asking_twice_changes_nothing(subject: _Subject) -> None:
    """A path is a question: asking again gives the same answer."""
    first = answer(subject.fitted(), subject.panel(), 12)
    require_same(answer(subject.fitted(), subject.panel(), 12), first, "asking twice gives other paths")


def check_two_of_them_agree(subject: _Subject) -> None:
    """The same seed and panel give the same bytes."""
    other = subject.make()
    other.fit(subject.panel())
    wanted = answer(subject.fitted(), subject.panel(), 12)
    require_same(answer(other, subject.panel(), 12), wanted, "two instances with the same seed differ")


def check_a_later_panel_is_answered_without_a_new_fit(subject: _Subject) -> None:
    """Newer samples of the same series, from one step to more than a day of them, and they count."""
    for more in (1, 2, 50, 300):
        answer(subject.fitted(), subject.panel(more=more), 12)
    panel = subject.panel(more=50)
    shares, at = panel.shares.copy(), KINDS.index("wandering")
    shares[-24:, at] = 0.95
    high = answer(subject.fitted(), replace(panel, shares=shares), 12)[:, 0, at]
    low = answer(subject.fitted(), panel, 12)[:, 0, at]
    require((high != low).any(), "two hours at 0.95 leave the next step as it was: newest samples count")


def check_what_comes_after_the_end_is_not_seen(subject: _Subject) -> None:
    """Two panels that part later have the same paths until then, and nobody asks a feed out of turn."""
    long = subject.panel(more=40)
    now = long.steps - 40
    parted = long.shares.copy()
    parted[now:] = 1 - np.nan_to_num(parted[now:])
    one = answer(subject.fitted(), long.until(now), 12)
    other = answer(subject.fitted(), replace(long, shares=parted).until(now), 12)
    require_same(other, one, "samples after the panel's end change its paths")
    told = [
        answer(subject.fitted(), replace(long.until(now), feeds=(_feed(long, now, later),)), 12)
        for later in (0.0, 50.0)
    ]
    require_same(told[1], told[0], "what a feed tells after the panel's end changes its paths")


def _feed(panel: Panel, now: int, later: float) -> Feed:
    """Return a feed of hourly points on the panel's time; those after its step ``now`` are ``later``."""
    hours = np.arange(0, panel.steps * panel.step_seconds, 3600, dtype=np.int64)
    values = np.where(hours > now * panel.step_seconds, later, hours // 3600 % 24).astype(np.float32)
    at = panel.start_seconds + hours
    return Feed(
        name="load",
        kind=FeedKind.APPLICATION,
        valid_seconds=at,
        issued_seconds=at,
        values=values,
        holds_seconds=3600,
    )


def check_a_constant_series_stays_constant(subject: _Subject) -> None:
    """Its median is about its only value."""
    at = int(np.flatnonzero(np.float32(0.5) == PATH_LEVELS)[0])
    median = answer(subject.fitted(), subject.panel(), 12)[at, :, KINDS.index("constant")]
    off = float(np.abs(median - CONSTANT).max())
    require(off <= CONSTANT_TOLERANCE, f"a series that is always {CONSTANT} has a median {off:.2f} from it")


def check_little_history_is_answered(subject: _Subject) -> None:
    """No step, one, a few, and less than a day of them; one series alone, known or not."""
    for steps in (0, 1, 5, 40, 200):
        _require_answer(subject, subject.panel().until(steps))
    for kind in ("constant", "missing", "bursts"):
        _require_answer(subject, subject.panel().of(np.array([KINDS.index(kind)])))


def _require_answer(subject: _Subject, panel: Panel) -> None:
    """Ask whoever learned from the panel, and who learned from more where that serves any series."""
    if subject.of_any_series:
        answer(subject.fitted(), panel, 12)
        return
    forecaster = subject.make()
    forecaster.fit(panel)
    answer(forecaster, panel, 12)


def check_other_series_are_answered(subject: _Subject) -> None:
    """Fewer of its own; and such as it never saw, where what it learned serves any."""
    answer(subject.fitted(), subject.panel().of(np.array([1, 4])), 12)
    if not subject.of_any_series:
        return
    strangers = subject.panel(seed=8)
    answer(subject.fitted(), replace(strangers, names=tuple(f"new-{name}" for name in KINDS)), 12)


def check_other_steps_are_learned(subject: _Subject) -> None:
    """Quarters of an hour, and hours."""
    for step_seconds in STEPS_SECONDS[1:]:
        forecaster = subject.make()
        panel = subject.panel(step_seconds)
        forecaster.fit(panel)
        answer(forecaster, panel, DAY_SECONDS // step_seconds)


def check_without_a_fit_it_answers_or_says_so(subject: _Subject) -> None:
    """From the panel alone, or a RuntimeError: nothing made up."""
    try:
        answer(subject.make(), subject.panel(), 12)
    except RuntimeError as error:
        require(str(error), "the RuntimeError of a forecaster without a fit has no sentence")


def check_it_goes_on_after_a_restart(subject: _Subject) -> None:
    """Saved and restored into a new instance it says the same; a state that lacks an array is refused."""
    one, other = subject.fitted(), subject.make()
    save, restore = getattr(one, "state", None), getattr(other, "restore", None)
    if save is None or restore is None:
        return
    state: dict[str, Any] = {name: np.array(array) for name, array in save().items()}
    restore(state)
    wanted = answer(one, subject.panel(more=3), 12)
    require_same(answer(other, subject.panel(more=3), 12), wanted, "a restart changes the paths")
    for name in state:
        try:
            restore({key: array for key, array in state.items() if key != name})
        except InputError:
            continue
        except KeyError:
            require(holds=False, sentence=f"a state without '{name}' is a KeyError; raise InputError")
        require(holds=False, sentence=f"a state without '{name}' is accepted; raise InputError")


CHECKS: tuple[Callable[[_Subject], None], ...] = (
    check_a_path_is_well_formed_at_every_horizon,
    check_what_it_was_given_stays,
    check_what_it_gave_stays,
    check_asking_twice_changes_nothing,
    check_two_of_them_agree,
    check_a_later_panel_is_answered_without_a_new_fit,
    check_what_comes_after_the_end_is_not_seen,
    check_a_constant_series_stays_constant,
    check_little_history_is_answered,
    check_other_series_are_answered,
    check_other_steps_are_learned,
    check_without_a_fit_it_answers_or_says_so,
    check_it_goes_on_after_a_restart,
)
