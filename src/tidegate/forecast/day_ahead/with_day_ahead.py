"""`WithDayAhead`: any forecaster, and beside what it says the coming day, refreshed in rounds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.forecast.day_ahead.history import History
from tidegate.forecast.day_ahead.refreshing import Refreshing
from tidegate.forecast.day_ahead.said import Said
from tidegate.forecast.day_ahead.seats import PerSeat, Seats
from tidegate.forecast.day_ahead.turns import NO_INSTANCE, SEEN_SECONDS_MIN, Turns, hours_looked
from tidegate.forecast.day_ahead.work import at_once
from tidegate.forecast.windows import steps_in
from tidegate.model.columns import part_of, prefixed, under
from tidegate.model.day_ahead import DAY_LEVELS, HOUR_SECONDS, NEVER_SECONDS, NOBODY, DayAhead, Turn
from tidegate.ports import Thinker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from tidegate.forecast.day_ahead.speakers import Speaker
    from tidegate.forecast.day_ahead.work import Run
    from tidegate.model.forecast import Drifts, Forecast
    from tidegate.model.resources import Resource
    from tidegate.model.snapshot import Snapshot
    from tidegate.ports import Forecaster

UNDER: Final = "day_ahead"
"""Where its memory lies in the whole's; the wrapped forecaster's lies as it would without."""
SERIES_MAX: Final = 20_000
"""Series that are remembered: two weeks of each are 8.6 kB."""
REFIT_SECONDS_MAX: Final = 10.0
"""Of one core, a round: in a simulated fleet at full speed an hour is a second or two."""
CLOCK_BACK_SECONDS_MAX: Final = HOUR_SECONDS
"""A clock that went back no further is waited for; further, histories are begun anew."""


def unheard(sentence: str) -> None:
    """Tell nobody."""


class WithDayAhead:
    """Wraps a forecaster; nothing it says of the next lead is changed."""

    def __init__(
        self,
        forecaster: Forecaster,
        *,
        speakers: Mapping[Resource, Speaker],
        resources: tuple[Resource, ...],
        step_seconds: int,
        run: Run = at_once,
        tell: Callable[[str], None] = unheard,
        refit_seconds_max: float = REFIT_SECONDS_MAX,
        round_seconds: int = HOUR_SECONDS,
        series_max: int = SERIES_MAX,
        seen_seconds_min: int = SEEN_SECONDS_MIN,
    ) -> None:
        """Take who speaks for which resource, and what a round may cost, in seconds that speakers estimate.

        ``run`` does the work: at once, or aside; ``tell`` hears of each problem once. Nothing is said of
        who was seen for less than ``seen_seconds_min``.
        """
        self._forecaster = forecaster
        chosen = [speakers.get(resource) for resource in resources]
        self._history = History(step_seconds=step_seconds)
        self._said = Said(hours=hours_looked(round_seconds), slot_seconds=self._history.slot_seconds)
        self._turns = Turns(
            chosen,
            refit_seconds_max=refit_seconds_max,
            round_seconds=round_seconds,
            seen_slots_min=steps_in(seen_seconds_min, self._history.slot_seconds),
        )
        self._refreshing = Refreshing(
            chosen, turns=self._turns, history=self._history, said=self._said, run=run, tell=tell
        )
        self._seats = Seats(
            {
                **self._history.columns,
                **self._said.columns,
                **self._turns.columns,
                "capacity": PerSeat(dtype=np.float32, fill=np.nan),
                "instance": PerSeat(dtype=np.int64, fill=NO_INSTANCE),
            },
            series_max=series_max,
        )
        self._time_seconds = NEVER_SECONDS
        self._day: DayAhead | None = None
        self._fresh = False
        """Whether anything was answered that the day doesn't show yet."""

    def think(self) -> None:
        """Let what is wrapped think."""
        if isinstance(self._forecaster, Thinker):
            self._forecaster.think()

    def observe(self, snapshot: Snapshot) -> None:
        """Note the samples, move on in time, and keep days fresh."""
        self._forecaster.observe(snapshot)
        seats = self._seats
        moved = seats.follow(snapshot)
        time_seconds = self._followed_clock(snapshot.time_seconds)
        changed = self._resize(seats.in_seats(snapshot.capacity))
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = np.clip(seats.in_seats(snapshot.used) / seats["capacity"], 0, 1)
        hour = self._said.hour
        for slot, means in self._history.add(seats, time_seconds, snapshot.step_seconds, shares):
            self._said.fold(seats, slot, means)
        if self._said.pass_to(seats, time_seconds // HOUR_SECONDS):
            moved |= seats.follow(snapshot, again=True)
        self._fresh |= self._refreshing.turn(seats, time_seconds)
        # A large fleet's answers come over many ticks: they are shown together, or at the next hour.
        if moved or changed or hour != self._said.hour or (self._fresh and self._refreshing.idle):
            self._day, self._fresh = None, False

    def forecast(self, snapshot: Snapshot) -> Forecast:
        """Return the wrapped forecast with the coming day beside it."""
        made = self._forecaster.forecast(snapshot)
        if made.drift is not None:
            self._hurry(made.drift)
        if self._day is None:
            self._day = self._shown()
        return replace(made, day=self._day)

    def close(self) -> None:
        """Begin no more work; what is under way ends after its slice."""
        self._refreshing.stopped = True

    def _hurry(self, drift: Drifts) -> None:
        """Note who changed: asking again notes the same."""
        if drift.noticed.any():
            noticed = self._seats.rows >= 0
            changed = drift.noticed[:, np.maximum(self._seats.rows, 0)] & noticed
            self._seats["urgent"][changed] = Turn.DRIFTED

    def _followed_clock(self, time_seconds: int) -> int:
        """Return the time, never less than before; begin anew if the clock went back too far for that."""
        if self._time_seconds - time_seconds > CLOCK_BACK_SECONDS_MAX:
            self._history.forget(self._seats)
            self._said.forget(self._seats)
            self._time_seconds = time_seconds
        self._time_seconds = max(self._time_seconds, time_seconds)
        return self._time_seconds

    def _resize(self, capacity: NDArray[np.float32]) -> bool:
        """Note capacities; what is known as shares of the old ones becomes shares of the new ones."""
        held = self._seats["capacity"]
        known = (capacity > 0) & np.isfinite(capacity)
        changed = known & (capacity != held)
        if not changed.any():
            return False
        resized = changed & (held > 0)
        factor = np.ones(held.shape, dtype=np.float32)
        np.divide(held, capacity, out=factor, where=resized)
        self._history.rescale(self._seats, factor)
        self._said.rescale(self._seats, factor)
        self._seats["urgent"][resized] = Turn.RESIZED
        np.copyto(held, capacity, where=changed)
        return True

    def _shown(self) -> DayAhead:
        """Return the coming day by the roster's rows."""
        seats = self._seats
        day = DayAhead(
            start_seconds=self._said.hour * HOUR_SECONDS,
            levels=DAY_LEVELS,
            quantiles=seats.in_rows(self._said.day(seats), np.nan),
            slot_seconds=self._history.slot_seconds,
            refreshed_seconds=seats.in_rows(seats["refreshed_seconds"], NEVER_SECONDS),
            turn=seats.in_rows(seats["turn"], Turn.NONE),
            models=self._refreshing.names,
            model=seats.in_rows(seats["model"], NOBODY),
            loss=seats.in_rows(seats["loss"], np.nan),
            coverage=seats.in_rows(seats["coverage"], np.nan),
        )
        for array in (day.quantiles, day.refreshed_seconds, day.turn, day.model, day.loss, day.coverage):
            array.setflags(write=False)  # the same record is handed out until it changes
        return day

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the histories, what was said and its record, beside what the wrapped one remembers."""
        own = self._seats.state() | self._history.state() | self._said.state() | self._turns.state()
        own |= self._refreshing.state() | {"clock": np.array(self._time_seconds, dtype=np.int64)}
        inner = self._forecaster.state() if hasattr(self._forecaster, "state") else {}
        return {**inner, **prefixed(UNDER, own)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned; from that of the wrapped one alone, with no day known.

        Fitted models are not among it: what they said stands, and their series are fitted first.
        """
        if hasattr(self._forecaster, "restore"):
            self._forecaster.restore(state)
        own = under(state, UNDER)
        if not own:
            return
        self._seats.restore(own)
        self._history.restore(own)
        self._said.restore(own)
        self._turns.restore(own)
        self._refreshing.restore(part_of(own, "names"), self._seats)
        self._time_seconds = int(part_of(own, "clock"))
        self._day = None
