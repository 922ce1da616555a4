"""How models look at a whole panel: back over its past to learn, and ahead from its end to answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths.draws import Draws
from tidegate.forecast.paths.outlook import outlook
from tidegate.forecast.windows import DAY_SECONDS, steps_in
from tidegate.model.errors import InputError
from tidegate.model.paths import PATH_LEVELS, Paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tidegate.forecast.paths.outlook import Outlook, Rows
    from tidegate.model.panel import Panel

    Answer = Callable[[Rows, NDArray[np.intp], NDArray[np.intp]], NDArray[np.float32]]

SERIES_MAX: Final = 512
"""Series that are learned from, and that are looked at together; of more, so many are drawn to learn from."""
WARM_SECONDS: Final = 5 * DAY_SECONDS
"""History before the first origin that is learned from: candidates need a past to speak of."""
ORIGINS_MAX: Final = 1000
"""Origins that are learned from, evenly over the history."""
ROWS_AT_ONCE: Final = 4096
"""Rows answered at once, so that what they need stays in the cache."""


def drawn_series(panel: Panel, random: np.random.Generator) -> Panel:
    """Return the panel of the series that are learned from, those of large VMs likelier where not all are."""
    count = len(panel.names)
    if count <= SERIES_MAX:
        return panel
    chance = np.sqrt(np.nan_to_num(panel.capacity).astype(np.float64)) + 1e-9
    chosen = random.choice(count, SERIES_MAX, replace=False, p=chance / chance.sum())
    return panel.of(np.sort(chosen))


def learned_from(panel: Panel) -> NDArray[np.intp]:
    """Return the origins that are learned from, at least a day after the beginning."""
    day = steps_in(DAY_SECONDS, panel.step_seconds)
    first = min(steps_in(WARM_SECONDS, panel.step_seconds), panel.steps - day)
    return np.unique(np.linspace(first, panel.steps - 1, ORIGINS_MAX).astype(np.intp))


def look_back(panel: Panel) -> Outlook:
    """Look from the panel's past origins a day ahead; straying is measured at each day's turn."""
    day = steps_in(DAY_SECONDS, panel.step_seconds)
    origins = learned_from(panel)
    turns = np.unique(np.maximum(origins // day * day, 1))
    return outlook(panel, origins, day, measured=turns)


def lessons_from(panel: Panel, random: np.random.Generator, *, who: str) -> tuple[Outlook, Draws]:
    """Look back over the panel, and draw from what is seen, for ``who`` learns across its series.

    Raises:
        InputError: there are less than two days of history.

    """
    panel = drawn_series(panel, random)
    day = steps_in(DAY_SECONDS, panel.step_seconds)
    if panel.steps < 2 * day:
        raise InputError(f"{who} learns from at least two days of history; give it a longer trace")
    view = look_back(panel)
    return view, Draws(view, panel.shares, horizon_steps=day, random=random)


def paths_ahead(panel: Panel, horizon_steps: int, answer: Answer) -> Paths:
    """Look ahead from the panel's end; ``answer`` says quantiles (rows, levels) of rows, steps and series."""
    count = len(panel.names)
    quantiles = np.empty((PATH_LEVELS.size, horizon_steps, count), dtype=np.float32)
    quantiles[:] = PATH_LEVELS[:, None, None]  # who was never seen may use anything
    seen = np.flatnonzero(~np.isnan(panel.shares).all(axis=0))
    for some in np.array_split(seen, -(-seen.size // SERIES_MAX)) if seen.size else ():
        part = panel if some.size == count else panel.of(some)
        quantiles[:, :, some] = _ahead(part, horizon_steps, answer)
    return Paths(end_seconds=panel.end_seconds, step_seconds=panel.step_seconds, quantiles=quantiles)


def _ahead(panel: Panel, horizon_steps: int, answer: Answer) -> NDArray[np.float32]:
    now = np.array([panel.steps], dtype=np.intp)
    view = outlook(panel, now, horizon_steps, measured=now)
    count = len(panel.names)
    found = np.empty((PATH_LEVELS.size, horizon_steps, count), dtype=np.float32)
    at_once = max(1, ROWS_AT_ONCE // count)
    for first in range(0, horizon_steps, at_once):
        ahead = np.arange(first + 1, min(first + at_once, horizon_steps) + 1)
        each, series = np.repeat(ahead, count), np.tile(np.arange(count), ahead.size)
        rows = view.rows(np.zeros(each.size, dtype=np.intp), each, series)
        said_so = answer(rows, each, series).reshape(ahead.size, count, PATH_LEVELS.size)
        found[:, ahead - 1] = np.clip(said_so, 0, 1).transpose(2, 0, 1)
    return found
