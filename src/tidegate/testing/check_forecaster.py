"""What every forecaster is held to, whatever it believes about the future."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.testing.checks import checks_of, require, require_array, require_same, run_all
from tidegate.testing.fleets import STEP_SECONDS
from tidegate.testing.story import TICKS, Story

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from numpy.typing import NDArray

    from tidegate.model.forecast import Forecast
    from tidegate.model.snapshot import Snapshot
    from tidegate.ports import Forecaster
    from tidegate.testing.checks import Check

RELATIVE_ERROR = 1e-5
"""Sums in another order may differ by this: float32 rounding of a few dozen terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    make: Callable[[], Forecaster]
    story: Story
    cards: bool

    def told(self, ticks: Iterable[int]) -> Iterator[Snapshot]:
        for tick in ticks:
            yield self.story.snapshot(tick, cards=self.cards)


def check_forecaster(
    make: Callable[[], Forecaster],
    *,
    resources: tuple[Resource, ...] = (Resource.CPU, Resource.MEMORY),
    step_seconds: int = STEP_SECONDS,
    cards: bool = False,
) -> None:
    """Run every check on forecasters that ``make`` returns, each a new one.

    Raises:
        AssertionError: at least one check fails; a line for each says what.

    """
    run_all(forecaster_checks(make, resources=resources, step_seconds=step_seconds, cards=cards))


def forecaster_checks(
    make: Callable[[], Forecaster],
    *,
    resources: tuple[Resource, ...] = (Resource.CPU, Resource.MEMORY),
    step_seconds: int = STEP_SECONDS,
    cards: bool = False,
) -> tuple[Check, ...]:
    """Return the checks one by one; the snapshots they show have these resources and this step."""
    story = Story(resources=resources, step_seconds=step_seconds)
    return checks_of(_Subject(make=make, story=story, cards=cards), CHECKS)


def seen(forecaster: Forecaster, snapshots: Iterable[Snapshot]) -> Forecast:
    """Show the snapshots, asking for a forecast after each, and return the last."""
    forecast = None
    for snapshot in snapshots:
        forecaster.observe(snapshot)
        forecast = forecaster.forecast(snapshot)
        _require_well_formed(forecast, snapshot)
    if forecast is None:
        raise ValueError("no snapshot was shown; give at least one")
    return forecast


def _require_well_formed(forecast: Forecast, snapshot: Snapshot) -> None:
    shape = snapshot.used.shape
    levels = forecast.levels
    require_array(levels, "levels", shape=(levels.size,), dtype=np.float32)
    require(levels.size > 0, "levels is empty; give at least one probability")
    require(((levels > 0) & (levels <= 1)).all(), f"levels {levels} are not probabilities in (0, 1]")
    require((np.diff(levels) > 0).all(), f"levels {levels} do not rise")
    require_array(forecast.quantiles, "quantiles", shape=(levels.size, *shape), dtype=np.float32)
    require_array(forecast.model, "model", shape=shape, dtype=np.uint8)
    require_array(forecast.skill, "skill", shape=shape, dtype=np.float32)
    require_array(forecast.coverage, "coverage", shape=shape, dtype=np.float32)
    require_array(forecast.profiling, "profiling", shape=shape, dtype=np.bool_)
    require((forecast.model < len(forecast.models)).all(), "model points beyond the names in models")
    require(forecast.time_seconds == snapshot.time_seconds, "time_seconds is not the snapshot's")
    require(forecast.lead_seconds > 0, f"lead_seconds is {forecast.lead_seconds}; it must be above 0")
    unknown = np.isnan(forecast.quantiles)
    require(not np.isinf(forecast.quantiles).any(), "a quantile is infinite")
    require((unknown.all(axis=0) == unknown.any(axis=0)).all(), "a series is known at some levels only")
    require(
        (forecast.profiling | ~unknown.any(axis=0)).all(),
        "a quantile is NaN where profiling is False: nothing may act on what is unknown",
    )
    require((unknown | (forecast.quantiles >= 0)).all(), "a quantile is negative")
    require((unknown[1:] | (np.diff(forecast.quantiles, axis=0) >= 0)).all(), "quantiles fall as levels rise")


def check_a_forecast_is_well_formed_at_every_tick(subject: _Subject) -> None:
    """Shapes, types, rising levels and quantiles, nothing negative or infinite, from the first tick on."""
    seen(subject.make(), subject.told(range(TICKS)))


def check_what_it_was_given_stays(subject: _Subject) -> None:
    """The arrays are read-only already; this also catches whoever opened them."""
    forecaster = subject.make()
    for snapshot in subject.told(range(8)):
        before = _bytes_of(snapshot)
        seen(forecaster, [snapshot])
        require(before == _bytes_of(snapshot), "the snapshot was written into")


def check_what_it_gave_stays(subject: _Subject) -> None:
    """A forecast already handed out is journalled and compared later: it must not change."""
    forecaster = subject.make()
    early = seen(forecaster, subject.told(range(4)))
    quantiles, model, profiling = early.quantiles.copy(), early.model.copy(), early.profiling.copy()
    seen(forecaster, subject.told(range(4, 16)))
    require_same(
        early.quantiles, quantiles, "an earlier forecast's quantiles changed when later samples came"
    )
    require_same(early.model, model, "an earlier forecast's model changed when later samples came")
    require_same(early.profiling, profiling, "an earlier forecast's profiling changed with later samples")


def check_it_knows_what_it_saw(subject: _Subject) -> None:
    """Once all have sent samples, whoever isn't profiling has finite quantiles."""
    forecast = seen(subject.make(), subject.told(range(TICKS)))
    acts = ~forecast.profiling
    require(np.isfinite(forecast.quantiles[:, acts]).all(), "a quantile is not finite where demand is known")


def check_asking_twice_changes_nothing(subject: _Subject) -> None:
    """A forecast is a question: asking again gives the same answer."""
    forecaster = subject.make()
    first = seen(forecaster, subject.told(range(12)))
    again = forecaster.forecast(subject.story.snapshot(11, cards=subject.cards))
    _require_equal(again, first, "asking twice gives another forecast")


def check_two_of_them_agree(subject: _Subject) -> None:
    """The same input gives the same bytes."""
    first = seen(subject.make(), subject.told(range(24)))
    second = seen(subject.make(), subject.told(range(24)))
    _require_equal(second, first, "two instances that saw the same forecast differently")


def check_it_goes_on_after_a_restart(subject: _Subject) -> None:
    """Saved in the middle and restored into a new instance, it goes on as if nothing had happened."""
    for saved_after in (1, 20):
        one, other = subject.make(), subject.make()
        if not (hasattr(one, "state") and hasattr(other, "restore")):
            return
        seen(one, subject.told(range(saved_after)))
        state = one.state()
        kept = {name: np.array(array) for name, array in state.items()}
        other.restore(kept)
        for snapshot in subject.told(range(saved_after, saved_after + 20)):
            without, restored = seen(one, [snapshot]), seen(other, [snapshot])
            _require_equal(restored, without, f"a restart after {saved_after} ticks changes the forecast")
        _require_state(state, kept, "a saved state changed when later samples came")


def check_a_state_that_lacks_an_array_is_refused(subject: _Subject) -> None:
    """With a sentence, not with a KeyError in the middle of the night."""
    one, other = subject.make(), subject.make()
    if not (hasattr(one, "state") and hasattr(other, "restore")):
        return
    seen(one, subject.told(range(3)))
    state = one.state()
    for name in state:
        try:
            other.restore({key: array for key, array in state.items() if key != name})
        except InputError:
            continue
        except KeyError:
            require(holds=False, sentence=f"a state without '{name}' is a KeyError; raise InputError")
        require(holds=False, sentence=f"a state without '{name}' is accepted; raise InputError")


def check_rows_follow_their_workload(subject: _Subject) -> None:
    """The same fleet in another order, from some tick on, has the same forecasts in that order."""
    shuffled = (3, 0, 5, 1, 4, 2)
    one, other = subject.make(), subject.make()
    for tick in range(24):
        straight = subject.story.snapshot(tick, cards=subject.cards)
        order = shuffled if tick >= 6 else range(6)
        moved = subject.story.snapshot(tick, order, cards=subject.cards)
        wanted, found = seen(one, [straight]), seen(other, [moved])
        _require_close(
            found.quantiles, wanted.quantiles[..., list(order)], "rows don't follow their workload"
        )
        require_same(
            found.profiling, wanted.profiling[..., list(order)], "profiling doesn't follow its workload"
        )


def check_a_new_name_changes_nothing(subject: _Subject) -> None:
    """Identifiers live as long as the workload; names may change."""
    one, other = subject.make(), subject.make()
    seen(one, subject.told(range(6)))
    seen(other, subject.told(range(6)))
    for tick in range(6, 12):
        wanted = seen(one, [subject.story.snapshot(tick, cards=subject.cards)])
        found = seen(other, [subject.story.snapshot(tick, cards=subject.cards, renamed=True)])
        _require_equal(found, wanted, "renaming the workloads changes the forecast")


def check_workloads_come_and_go(subject: _Subject) -> None:
    """Newcomers, leavers, all at once, and back again."""
    forecaster = subject.make()
    fleets = [(0, 1, 2), (0, 1, 2, 3), (3, 1), (1,), (7, 8, 9, 1), (2, 0, 9), (10, 11)]
    for tick, ids in enumerate(np.repeat(np.arange(len(fleets)), 3)):
        seen(forecaster, [subject.story.snapshot(tick, fleets[ids], cards=subject.cards)])


def check_workloads_are_resized(subject: _Subject) -> None:
    """What they are sold doubles, shrinks to a fifth, and is unknown for a while."""
    forecaster = subject.make()
    for tick, size in enumerate((1, 1, 2, 2, 0.2, 0.2, 1, 1)):
        seen(forecaster, [subject.story.snapshot(tick, size=size, cards=subject.cards)])
    for tick in range(8, 12):
        snapshot = subject.story.snapshot(tick, unknown=(1, 4), cards=subject.cards)
        seen(forecaster, [snapshot])


def check_an_unknown_capacity_spoils_nobody_else(subject: _Subject) -> None:
    """Who has no capacity yet is unknown; the others' forecasts don't notice."""
    one, other = subject.make(), subject.make()
    for tick in range(24):
        wanted = seen(one, [subject.story.snapshot(tick, (0, 2, 3), cards=subject.cards)])
        found = seen(other, [subject.story.snapshot(tick, (0, 1, 2, 3), unknown=(1,), cards=subject.cards)])
        known = np.isnan(wanted.quantiles) | np.isfinite(found.quantiles[..., [0, 2, 3]])
        require(known.all(), "a workload of unknown capacity makes another's forecast unknown")


def check_a_silent_fleet_is_survived(subject: _Subject) -> None:
    """No sample from anyone: from the first tick, and in the middle."""
    forecaster = subject.make()
    for tick in range(30):
        silent = tick < 3 or 10 <= tick < 26
        seen(forecaster, [subject.story.snapshot(tick, silent=silent, cards=subject.cards)])


def check_an_empty_fleet_is_survived(subject: _Subject) -> None:
    """Nobody there: at the first tick, and after everyone left."""
    forecaster = subject.make()
    for tick, ids in enumerate([(), (), (0, 1), (0, 1), (), (), (1, 2), (1, 2)]):
        seen(forecaster, [subject.story.snapshot(tick, ids, cards=subject.cards)])


def check_lost_ticks_are_survived(subject: _Subject) -> None:
    """The loop stood still for minutes, hours and days."""
    forecaster = subject.make()
    for tick in (0, 1, 2, 7, 8, 60, 61, 900, 901, 90_000, 90_001):
        seen(forecaster, [subject.story.snapshot(tick, cards=subject.cards)])


CHECKS: tuple[Callable[[_Subject], None], ...] = (
    check_a_forecast_is_well_formed_at_every_tick,
    check_what_it_was_given_stays,
    check_what_it_gave_stays,
    check_it_knows_what_it_saw,
    check_asking_twice_changes_nothing,
    check_two_of_them_agree,
    check_it_goes_on_after_a_restart,
    check_a_state_that_lacks_an_array_is_refused,
    check_rows_follow_their_workload,
    check_a_new_name_changes_nothing,
    check_workloads_come_and_go,
    check_workloads_are_resized,
    check_an_unknown_capacity_spoils_nobody_else,
    check_a_silent_fleet_is_survived,
    check_an_empty_fleet_is_survived,
    check_lost_ticks_are_survived,
)


def _bytes_of(snapshot: Snapshot) -> list[bytes]:
    columns = (snapshot.used, snapshot.capacity, snapshot.pressed, snapshot.grant, snapshot.in_flight)
    return [column.tobytes() for column in columns]


def _require_equal(found: Forecast, wanted: Forecast, sentence: str) -> None:
    require_same(found.quantiles, wanted.quantiles, f"{sentence}: quantiles")
    require_same(found.model, wanted.model, f"{sentence}: model")
    require_same(found.profiling, wanted.profiling, f"{sentence}: profiling")
    require_same(found.skill, wanted.skill, f"{sentence}: skill")


def _require_close(found: NDArray[np.float32], wanted: NDArray[np.float32], sentence: str) -> None:
    close = np.isclose(found, wanted, rtol=RELATIVE_ERROR, atol=0, equal_nan=True)
    require(close.all(), f"{sentence}: {found[~close][:3]} is not {wanted[~close][:3]}")


def _require_state(
    found: Mapping[str, NDArray[Any]], kept: Mapping[str, NDArray[Any]], sentence: str
) -> None:
    for name, array in kept.items():
        require_same(found[name], array, f"{sentence}: {name}")
