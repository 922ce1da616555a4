"""Puts path models to work beside a running loop: who speaks, from the store or made here, and who works.

A model of the store is used only when it is active: somebody trained and judged it, and promoted it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from tidegate.app.artefacts import load_active, revived, storable_kinds
from tidegate.app.path_models import PATH_MODELS, is_daily, path_model, without_feeds
from tidegate.forecast.day_ahead import Speaker, WithDayAhead
from tidegate.forecast.day_ahead.history import SLOT_SECONDS_MIN
from tidegate.forecast.day_ahead.with_day_ahead import REFIT_SECONDS_MAX
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tidegate.app.artefacts import ModelStore
    from tidegate.forecast.day_ahead.work import Answer, Handle, Work
    from tidegate.model.resources import Resource
    from tidegate.ports import Forecaster

KIND: Final = "day_ahead"
"""What a journal calls events of the day ahead."""
OFF: Final = "off"
PLAIN: Final = "profile"
"""Speaks for resources of which no trained model is active, where one is of others."""
FROM_SAMPLES: Final = frozenset({"last", "seasonal_naive", "percentile", "recent_peak", "profile"})
"""Models that need no training: what they fit is quick, and of each series."""
FIT_SECONDS: Final[Mapping[str, float]] = {
    "arima": 0.25,
    "ets": 0.08,
    "theta": 0.05,
    "mstl": 0.15,
    "prophet": 0.6,
}
"""What fitting one series costs on one core, about; others are quick."""
FIT_SECONDS_ELSE: Final = 0.002
PATHS_SECONDS: Final = 0.002
"""What asking for the day of one series costs on one core, about."""
WAIT_SECONDS: Final = 5.0
"""How long the end of a program waits for the slice that is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayAheadOptions:
    """What was asked for of the day ahead."""

    model: str | None = None
    """A path model by name, `OFF`, or None: those that are active in the store, if any."""
    refit_seconds_max: float = REFIT_SECONDS_MAX
    """Of one core, an hour."""

    def __post_init__(self) -> None:
        """Refuse a model nobody knows, and seconds that can't be, before anything is begun.

        Raises:
            InputError: it is.

        """
        if not self.refit_seconds_max >= 0:
            raise InputError(
                f"--refit-seconds-max {self.refit_seconds_max:g} is no number of seconds; give 0 or more"
            )
        if self.model is None or self.model == OFF:
            return
        if without_feeds(self.model) != self.model:
            raise InputError(f"--day-ahead {self.model}: the running loop has no feeds; leave the end off")
        is_daily(self.model)  # refuses unknown names


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """Who speaks for which resource, and what a person should know of that."""

    speakers: Mapping[Resource, Speaker]
    notes: tuple[str, ...] = ()


def spoken_by(
    options: DayAheadOptions,
    store: ModelStore,
    resources: Sequence[Resource],
    *,
    step_seconds: int,
    seed: int,
) -> Spoken:
    """Return who speaks for each resource; nobody where none was asked for and none is active.

    Raises:
        InputError: a model was asked for that can't run here, or has to be trained and is not active.

    """
    if options.model == OFF:
        return Spoken(speakers={})
    slot_seconds = max(step_seconds, SLOT_SECONDS_MIN)
    if options.model is None:
        return _whoever_is_active(store, resources, slot_seconds=slot_seconds, seed=seed)
    name = options.model
    if is_daily(name) or name in FROM_SAMPLES:
        speaker = _fresh(name, seed)
        return Spoken(speakers=dict.fromkeys(resources, speaker))
    if name not in storable_kinds():
        raise InputError(
            f"--day-ahead {name}: it learns from many series for minutes and can't be stored; choose from "
            f"{', '.join(sorted(FROM_SAMPLES))}, a model of each series such as mstl, or one that is active "
            "in the store"
        )
    found, notes = _active(store, name, resources, slot_seconds)
    if not found:
        raise InputError(
            f"no model '{name}' is active for {' or '.join(one.label for one in resources)} at steps of "
            f"{slot_seconds} s{_why(notes)}; train and promote one ('tidegate train --model {name}'), or "
            f"choose --day-ahead {PLAIN}, which needs no training"
        )
    return _filled_up(found, notes, resources, seed)


class Aside:
    """Does work in a thread of its own, so that no tick waits for it; one piece at a time is handed in."""

    def __init__(self) -> None:
        """Have begun nothing."""
        self._closed = threading.Event()
        self._last: _InThread | None = None

    def __call__(self, work: Work) -> Handle:
        """Begin work; it must be done before the next is handed in."""
        self._last = _InThread(work)
        self._last.start()
        return self._last

    def close(self) -> None:
        """Wait a little for what is under way; a fit that takes longer ends with the program."""
        if self._last is not None:
            self._last.wait(WAIT_SECONDS)


class Beside:
    """The day ahead of one loop: wraps its forecaster, works aside, and is closed at the end."""

    def __init__(
        self,
        options: DayAheadOptions,
        spoken: Spoken,
        *,
        resources: tuple[Resource, ...],
        step_seconds: int,
        tell: Callable[[str], None],
    ) -> None:
        """Have nothing under way; ``tell`` hears of each problem once."""
        self._options, self._spoken = options, spoken
        self._resources, self._step_seconds = resources, step_seconds
        self._tell = tell
        self._aside = Aside()
        self._made: list[WithDayAhead] = []

    def __call__(self, forecaster: Forecaster) -> Forecaster:
        """Return the forecaster with the day ahead beside it; itself where nobody speaks."""
        if not self._spoken.speakers:
            return forecaster
        made = WithDayAhead(
            forecaster,
            speakers=self._spoken.speakers,
            resources=self._resources,
            step_seconds=self._step_seconds,
            run=self._aside,
            tell=self._tell,
            refit_seconds_max=self._options.refit_seconds_max,
        )
        self._made.append(made)
        return made

    def close(self) -> None:
        """Begin no more work, and wait a little for what is under way."""
        for made in self._made:
            made.close()
        self._aside.close()


@dataclass(slots=True)
class _InThread:
    """Work under way."""

    work: Work
    answers: Sequence[Answer] = ()
    problem: Exception | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        # A daemon: no program stays because a fit does.
        threading.Thread(target=self._do, name="day ahead", daemon=True).start()

    def _do(self) -> None:
        try:
            self.answers = self.work()
        except Exception as error:  # noqa: BLE001 - it is raised where the result is asked for
            self.problem = error
        finally:
            self.ended.set()

    def wait(self, seconds: float) -> None:
        self.ended.wait(seconds)

    def done(self) -> bool:
        return self.ended.is_set()

    def result(self) -> Sequence[Answer]:
        if self.problem is not None:
            raise self.problem
        return self.answers


def _fresh(name: str, seed: int) -> Speaker:
    """Return who is fitted on the series it speaks for.

    Raises:
        InputError: what it needs is not installed.

    """
    make = partial(path_model, name, seed=seed, processes=1)
    make()
    return Speaker(
        name=name,
        paths_seconds=PATHS_SECONDS,
        fit_seconds=FIT_SECONDS.get(name, FIT_SECONDS_ELSE),
        fresh=make,
    )


def _active(
    store: ModelStore, kind: str, resources: Sequence[Resource], slot_seconds: int
) -> tuple[dict[Resource, Speaker], list[str]]:
    """Return the active models of a kind by resource, and what is wrong with those that can't be used."""
    found: dict[Resource, Speaker] = {}
    notes: list[str] = []
    for resource in resources:
        try:
            active = load_active(store, kind, resource.label, step_seconds=slot_seconds)
            if active is None:
                continue
            model = revived(active.opened)
        except InputError as error:
            notes.append(str(error))
            continue
        if active.fell_back is not None:
            notes.append(active.fell_back)
        card = active.opened.card
        measured = card.inference_seconds_per_series
        found[resource] = Speaker(
            name=card.name,
            paths_seconds=PATHS_SECONDS if not measured or measured <= 0 else measured,
            trained=model,
        )
    return found, notes


def _whoever_is_active(
    store: ModelStore, resources: Sequence[Resource], *, slot_seconds: int, seed: int
) -> Spoken:
    """Return the active models of the kind that is active for most resources, the first such kind."""
    try:
        held = store.held()
    except InputError as error:
        return Spoken(speakers={}, notes=(str(error),))  # nobody asked for it: no reason not to start
    slots = {one.card.slot for one in held if one.card is not None}
    kinds = [name for name in PATH_MODELS if any(kind == name for kind, _ in slots)]
    kinds += sorted({kind for kind, _ in slots} - set(kinds))
    best: dict[Resource, Speaker] = {}
    said: list[str] = []
    for kind in kinds:
        found, notes = _active(store, kind, resources, slot_seconds)
        said += notes
        if len(found) > len(best):
            best = found
    if not best:
        return Spoken(speakers={}, notes=tuple(said))
    return _filled_up(best, said, resources, seed)


def _filled_up(
    found: Mapping[Resource, Speaker], notes: Sequence[str], resources: Sequence[Resource], seed: int
) -> Spoken:
    """Return the trained models, and the plain one for resources that none is active for."""
    others = [resource for resource in resources if resource not in found]
    plain = _fresh(PLAIN, seed) if others else None
    speakers = dict(found) | ({} if plain is None else dict.fromkeys(others, plain))
    said = list(notes)
    if others:
        names = ", ".join(resource.label for resource in others)
        said.append(f"no trained model is active for {names}: '{PLAIN}' says their coming day")
    return Spoken(speakers=speakers, notes=tuple(said))


def _why(notes: Sequence[str]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""


__all__ = ["KIND", "OFF", "REFIT_SECONDS_MAX", "Aside", "Beside", "DayAheadOptions", "Spoken", "spoken_by"]
