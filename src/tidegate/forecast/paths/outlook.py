"""What is in view from some origins of a panel.

For any of them, any horizon and any series: what the gate sees, and what every candidate says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths import candidates as plain
from tidegate.forecast.paths import traits as described
from tidegate.forecast.paths.histories import filled
from tidegate.forecast.windows import DAY_SECONDS, HOUR_SECONDS, steps_in
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.forecast.paths.candidates import Strays
    from tidegate.forecast.paths.traits import Traits
    from tidegate.model.panel import Panel

POSITIONS_AT_ONCE: Final = 512
"""Times of day looked up at once, so that what they need fits in memory."""
_LOW, _HIGH = 0, int(np.searchsorted(PATH_LEVELS, 0.9))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """One row per forecast asked for: an origin, a horizon, a series."""

    seen: NDArray[np.float32]
    """(rows, inputs)."""
    said: NDArray[np.float32]
    """(rows, candidates, levels)."""
    scale: NDArray[np.float32]
    """(rows,)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outlook:
    """Tables to take rows from."""

    start_seconds: int
    step_seconds: int
    history: NDArray[np.float32]
    """(steps, series), gaps filled."""
    origins: NDArray[np.intp]
    """(origins,) how many steps are known at each."""
    traits: Traits
    strays: Strays
    recent: NDArray[np.float16]
    first: int
    """The position the two below begin at."""
    usual: NDArray[np.float16]
    """(positions, series, levels)."""
    amounts: NDArray[np.float16]
    """(positions, series, amounts)."""

    def rows(self, origin: NDArray[np.intp], ahead: NDArray[np.intp], series: NDArray[np.intp]) -> Rows:
        """Return rows for origins by number, horizons in steps (at least 1) and series by number."""
        day = steps_in(DAY_SECONDS, self.step_seconds)
        within = (ahead - 1) % day + 1
        known_steps = self.origins[origin]
        position = known_steps - 1 + within - self.first
        level, scale = self.traits.level[origin, series], self.traits.scale[origin, series]
        said = self._said(origin, ahead, series, position, level)
        relative = described.relative(
            self.amounts[position, series].astype(np.float32), level[:, None], scale[:, None]
        )
        edges = said[:, :, [_LOW, plain.MEDIAN, _HIGH]]
        places = described.relative(edges[:, :, 1:], level[:, None, None], scale[:, None, None])
        spreads = 0.5 * np.log((edges[:, :, 2] - edges[:, :, 0]) / scale[:, None] + 1e-2)
        seconds = self.start_seconds + (known_steps - 1 + ahead).astype(np.int64) * self.step_seconds
        seen = (
            *(self.traits.numbers[origin, series].astype(np.float32), relative, spreads),
            *(places.reshape(ahead.size, -1), described.moments(seconds), self._horizon(ahead)),
        )
        return Rows(seen=np.concatenate(seen, axis=1), said=said, scale=scale)

    def _said(
        self,
        origin: NDArray[np.intp],
        ahead: NDArray[np.intp],
        series: NDArray[np.intp],
        position: NDArray[np.intp],
        level: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        known_steps = self.origins[origin]
        usual = self.usual[position, series].astype(np.float32)
        now = self.usual[known_steps - 1 - self.first, series, plain.MEDIAN].astype(np.float32)
        stays = np.broadcast_to(level[:, None], usual.shape)
        windows = self.recent[origin, :, series].astype(np.float32)
        said = np.concatenate(
            (
                *(stays[:, None], (stays + self.strays.at(known_steps, ahead, series))[:, None]),
                *(windows, usual[:, None], (usual + (level - now)[:, None])[:, None]),
            ),
            axis=1,
        )
        return np.clip(said, 0, 1)

    def _horizon(self, ahead: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the horizon on three scales."""
        hours = (ahead * np.float32(self.step_seconds / HOUR_SECONDS)).astype(np.float32)
        scales = (np.log(12 * hours) / 6, hours / 24, 1 / (12 * hours), np.minimum(hours, 1))
        return np.stack(scales, axis=1).astype(np.float32)


def outlook(
    panel: Panel,
    origins: NDArray[np.intp],
    horizon_steps: int,
    *,
    measured: NDArray[np.intp],
) -> Outlook:
    """Look from ``origins`` (rising, steps known) up to a horizon; strays as ``measured`` at some steps."""
    history = filled(panel.shares)
    step = panel.step_seconds
    day = steps_in(DAY_SECONDS, step)
    first = int(origins[0]) - 1
    last = int(origins[-1]) + min(horizon_steps, day)
    positions = np.arange(first, last)
    blocks = [positions[at : at + POSITIONS_AT_ONCE] for at in range(0, positions.size, POSITIONS_AT_ONCE)]
    return Outlook(
        start_seconds=panel.start_seconds + step,
        step_seconds=step,
        history=history,
        origins=origins,
        traits=described.traits(history, origins, step),
        strays=plain.strays(history, measured, step),
        recent=plain.recent(history, origins, step),
        first=first,
        usual=np.concatenate([plain.usual(history, block, step) for block in blocks]),
        amounts=np.concatenate([described.usual_amounts(history, block, step) for block in blocks]),
    )
