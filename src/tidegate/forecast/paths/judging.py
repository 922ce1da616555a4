"""What gates and members say of moments they did not learn from: the ground for trust and for width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.windows import DAY_SECONDS, steps_in
from tidegate.model.errors import InputError
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tidegate.forecast.paths.draws import Drawn
    from tidegate.forecast.paths.outlook import Outlook, Rows
    from tidegate.model.panel import Panel
    from tidegate.ports import PathForecaster

BLOCK_DAYS: Final = 2
"""A fold is made of blocks this long, so that each fold reaches over the whole history."""
ROWS: Final = 40_000
"""Forecasts drawn from each fold."""
MEMBERS_RATIO: Final = 0.65
"""Share of the history that members are first trained on; they are judged on the rest."""
MEMBER_ORIGINS: Final = 64
"""Origins in that rest that members are asked at, evenly."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What was said, and what came; a row each."""

    gates: NDArray[np.float32]
    """(rows, levels)."""
    members: NDArray[np.float32]
    """(rows, levels) on average; NaN where members were not asked."""
    came: NDArray[np.float32]
    """(rows,)."""
    ahead: NDArray[np.intp]
    """(rows,) steps."""
    weight: NDArray[np.float32]
    """(rows,) how much each counts."""


def together(parts: Sequence[Judged]) -> Judged:
    """Return all rows as one."""
    names = ("gates", "members", "came", "ahead", "weight")
    return Judged(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heard:
    """What members said, on average, at some origins."""

    origins: NDArray[np.intp]
    """(origins,) rising, in steps known."""
    quantiles: NDArray[np.float16]
    """(origins, steps ahead, series, levels)."""
    members: tuple[PathForecaster, ...]
    """Who said it."""

    def at(
        self, known_steps: NDArray[np.intp], ahead: NDArray[np.intp], series: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Return (rows, levels) for origins, steps ahead and series; NaN where nobody was asked."""
        place = np.minimum(np.searchsorted(self.origins, known_steps), self.origins.size - 1)
        asked = self.origins[place] == known_steps
        said = self.quantiles[place, ahead - 1, series].astype(np.float32)
        return np.where(asked[:, None], said, np.float32(np.nan))


def heard(members: Sequence[PathForecaster], panel: Panel, origins: NDArray[np.intp]) -> Heard | None:
    """Train members on the first part of the panel and ask them at origins in the rest; None without any.

    Who can't learn from so little is not asked.
    """
    split = int(panel.steps * MEMBERS_RATIO)
    late = origins[origins >= split]
    learned = tuple(member for member in members if _learns(member, panel.until(split)))
    if not learned or not late.size:
        return None
    asked = late[np.unique(np.linspace(0, late.size - 1, MEMBER_ORIGINS).astype(np.intp))]
    day = steps_in(DAY_SECONDS, panel.step_seconds)
    said = [mean_of(learned, panel.until(int(origin)), day) for origin in asked]
    quantiles = np.stack(said).transpose(0, 2, 3, 1).astype(np.float16)
    return Heard(origins=asked, quantiles=quantiles, members=learned)


def _learns(member: PathForecaster, panel: Panel) -> bool:
    try:
        member.fit(panel)
    except InputError:
        return False
    return True


def mean_of(members: Sequence[PathForecaster], panel: Panel, horizon_steps: int) -> NDArray[np.float32]:
    """Return what members say on average (levels, steps, series)."""
    total = np.zeros((PATH_LEVELS.size, horizon_steps, len(panel.names)), dtype=np.float32)
    for member in members:
        total += member.paths(panel, horizon_steps).quantiles
    return total / np.float32(len(members))


def blocks_of(view: Outlook) -> NDArray[np.intp]:
    """Return the first steps of the blocks that folds are made of."""
    return np.arange(int(view.origins[0]), view.history.shape[0], _block_steps(view))


def without(came: NDArray[np.float32], view: Outlook, blocks: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return what came (steps, series) with some blocks unknown."""
    others = came.copy()
    for first in blocks:
        others[first : first + _block_steps(view)] = np.nan
    return others


def drawn_within(
    view: Outlook, blocks: NDArray[np.intp], asked: NDArray[np.intp] | None, random: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Draw forecasts made and come true within one of the blocks: origins by number, steps ahead, series.

    Half are from origins that members were ``asked`` at, in steps known, where there are any.
    """
    ends = np.minimum(blocks + _block_steps(view), view.history.shape[0])
    block = np.searchsorted(blocks, view.origins, side="right") - 1
    left = np.where(block >= 0, ends[np.maximum(block, 0)] - view.origins, 0)
    inside = np.flatnonzero(left > 0)
    origin = random.choice(inside, ROWS)
    if asked is not None:
        spoken = inside[np.isin(view.origins[inside], asked)]
        if spoken.size:
            origin = np.where(random.random(ROWS) < 0.5, random.choice(spoken, ROWS), origin)
    day = steps_in(DAY_SECONDS, view.step_seconds)
    ahead = random.integers(1, np.minimum(left[origin], day) + 1)
    return origin, ahead, random.integers(0, view.history.shape[1], ROWS)


def judged(
    blend: Callable[[Rows], NDArray[np.float32]],
    view: Outlook,
    drawn: Drawn,
    said: Heard | None,
    rows_at_once: int,
) -> Judged:
    """Return what a gate and the members said of what was drawn, where what came is known."""
    known = np.flatnonzero(drawn.weight > 0)
    origin, ahead, series = drawn.origin[known], drawn.ahead[known], drawn.series[known]
    parts = np.array_split(np.arange(known.size), max(1, known.size // rows_at_once))
    gates = [blend(view.rows(origin[some], ahead[some], series[some])) for some in parts]
    blended = np.concatenate(gates)
    unknown = np.full(blended.shape, np.nan, dtype=np.float32)
    return Judged(
        gates=blended,
        members=unknown if said is None else said.at(view.origins[origin], ahead, series),
        came=drawn.came[known],
        ahead=ahead,
        weight=drawn.weight[known],
    )


def _block_steps(view: Outlook) -> int:
    return BLOCK_DAYS * steps_in(DAY_SECONDS, view.step_seconds)
