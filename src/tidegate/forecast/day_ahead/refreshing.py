"""Keeps the days of all series fresh: rounds, the work they hand on, and what comes back of it."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.forecast.day_ahead.instances import Instances
from tidegate.forecast.day_ahead.work import Asked, answered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tidegate.forecast.day_ahead.history import History
    from tidegate.forecast.day_ahead.said import Said
    from tidegate.forecast.day_ahead.seats import Seats
    from tidegate.forecast.day_ahead.speakers import Speaker
    from tidegate.forecast.day_ahead.turns import Slice, Turns
    from tidegate.forecast.day_ahead.work import Answer, Handle, Run

HANDED_SERIES_MAX: Final = 2_000
"""Histories copied for work at one tick, about: 16 MB of two weeks."""
SENTENCES_MAX: Final = 20
"""Problems that are told before the first round without any."""
SENTENCE_LETTERS_MAX: Final = 300
SLOW: Final = (
    "the day ahead falls behind: a round's work was not done when the next began; what was said stands"
)


class Refreshing:
    """One piece of work under way at most, and a queue that the next round begins anew."""

    def __init__(
        self,
        speakers: Sequence[Speaker | None],
        *,
        turns: Turns,
        history: History,
        said: Said,
        run: Run,
        tell: Callable[[str], None],
    ) -> None:
        """Have nothing to do; ``tell`` hears of each problem once."""
        self._speakers = speakers
        self._turns, self._history, self._said = turns, history, said
        self._run, self._tell = run, tell
        self._instances = Instances()
        self._queue: deque[Slice] = deque()
        self._under_way: Handle | None = None
        self._told: set[str] = set()
        self._failed = False
        self._names = list(dict.fromkeys(each.name for each in speakers if each is not None))
        self.stopped = False
        """Set from outside: work under way ends after its slice, and none is begun."""

    @property
    def names(self) -> tuple[str, ...]:
        """Who may have spoken, by number."""
        return tuple(self._names)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or waits to be."""
        return self._under_way is None and not self._queue

    def turn(self, seats: Seats, time_seconds: int) -> bool:
        """Pick up what is done and hand on what is due; True if any day is newer than before."""
        fresh = self._pick_up(seats)
        if self._turns.due(time_seconds):
            self._begin(seats)
        elif not self._queue:
            self._queue.extend(self._turns.urgent(seats, seats["instance"]))
        while self._queue and self._under_way is None and not self.stopped:
            handed = self._handed(seats)
            if handed:
                self._under_way = self._run(partial(answered, handed, self._said.hours, self._is_stopped))
                fresh |= self._pick_up(seats)
        return fresh

    def _is_stopped(self) -> bool:
        return self.stopped

    def _begin(self, seats: Seats) -> None:
        """Begin a round; what is left of the last one is chosen again by how long it has waited."""
        if self._queue or self._under_way is not None:
            self._say(SLOW)
        elif not self._failed:
            self._told.clear()
        self._failed = False
        self._queue.clear()
        self._queue.extend(self._turns.planned(seats, seats["instance"]))

    def _handed(self, seats: Seats) -> list[Asked]:
        """Copy the next slices' histories; slices whose series or model are gone are passed over."""
        handed: list[Asked] = []
        series = 0
        while self._queue and series < HANDED_SERIES_MAX:
            made = self._queue.popleft()
            asked = self._asked(seats, made)
            if asked is not None:
                self._turns.note(seats, made)
                handed.append(asked)
                series += made.seats.size
        return handed

    def _asked(self, seats: Seats, made: Slice) -> Asked | None:
        speaker = self._speakers[made.resource]
        same = seats.taken[made.seats] & (seats.ids[made.seats] == made.ids)
        if speaker is None or not same.any():
            return None
        instance = self._instances.number() if made.fits else made.instance
        model = speaker.trained or self._instances.get(instance)
        if made.fits and speaker.fresh is not None:
            try:
                model = speaker.fresh()
            except Exception as error:  # noqa: BLE001 - plug-ins raise anything; the day before stands
                self._fail(speaker.name, f"{type(error).__name__}: {error}")
                return None
        if model is None:
            return None
        at = made.seats[same]
        first, shares = self._history.read(seats, made.resource, at)
        return Asked(
            model=model,
            fits=made.fits,
            name=self._names.index(speaker.name),
            instance=instance,
            resource=made.resource,
            seats=at,
            ids=made.ids[same],
            capacity=seats["capacity"][made.resource, at],
            turn=made.turn[same],
            start_seconds=first * self._history.slot_seconds,
            slot_seconds=self._history.slot_seconds,
            shares=shares,
        )

    def _pick_up(self, seats: Seats) -> bool:
        """Take in what is done; True if there was any day in it."""
        if self._under_way is None or not self._under_way.done():
            return False
        handle, self._under_way = self._under_way, None
        try:
            answers = handle.result()
        except Exception as error:  # noqa: BLE001 - whatever a runner raises, the days before stand
            self._fail("the work", f"{type(error).__name__}: {error}")
            return False
        fresh = False
        for answer in answers:
            fresh |= self._take(seats, answer)
        self._instances.let_go(seats)
        return fresh

    def _take(self, seats: Seats, answer: Answer) -> bool:
        asked = answer.asked
        if answer.quantiles is None:
            self._fail(self._names[asked.name], answer.problem)
            return False
        if asked.fits:
            self._instances.take(seats, asked)
        self._said.take(seats, answer)
        return True

    def _fail(self, who: str, why: str) -> None:
        self._failed = True
        self._say(f"the day ahead stays as it was for some series: {who} failed: {why}")

    def _say(self, sentence: str) -> None:
        """Tell a problem, once until a round goes without."""
        self._failed = True
        short = sentence[:SENTENCE_LETTERS_MAX]
        if short not in self._told and len(self._told) < SENTENCES_MAX:
            self._told.add(short)
            self._tell(short)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return who spoke, by number; work under way and fitted models are not kept."""
        return {"names": np.frombuffer("\n".join(self._names).encode(), dtype=np.uint8).copy()}

    def restore(self, names: NDArray[np.uint8], seats: Seats) -> None:
        """Go on with the names that saved numbers stand for; those who speak now come after them."""
        before = bytes(np.asarray(names, dtype=np.uint8)).decode().split("\n")
        spoke = seats["model"] if seats.ready else np.empty(0, dtype=np.uint8)
        used = np.unique(spoke[spoke < len(before)])
        kept = [before[number] for number in used.tolist()]
        self._names = list(dict.fromkeys([*kept, *self._names]))
        renumbered = np.arange(256, dtype=np.uint8)
        for number, name in zip(used.tolist(), kept, strict=True):
            renumbered[number] = self._names.index(name)
        if seats.ready:
            seats["model"][...] = renumbered[seats["model"]]
            self._instances.forget(seats)
