"""How wrong a path model was at many origins in the past: what feeds are given to explain.

The model is fitted on what lies before the first origin, and asked at each as it would have been then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.feeds.alignment import LAGS_SECONDS, rest_days
from tidegate.forecast.windows import DAY_SECONDS, HOUR_SECONDS
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.panel import Panel
    from tidegate.ports import PathForecaster

LEVELS: Final = 9
"""The first so many levels make the loss: 0.1 to 0.9."""
MEDIAN: Final = 4
ORIGINS_MAX: Final = 256
LEADS_MAX: Final = 24
SAMPLES_MAX: Final = 1_500_000
"""Origins times leads times series: what is looked at takes a few hundred MB."""
BLOCKS_MAX: Final = 32
BLOCKS_MIN: Final = 6
"""Fewer can't show that a gain was no chance."""
FIRST_RATIO: Final = 0.25
"""The share of the history the first origin comes after, at most `FIRST_DAYS_MAX` days."""
FIRST_DAYS_MAX: Final = 21
TRAIN_RATIO: Final = 0.25
"""The share of the origins that only teach, and are never tested."""
REST_WEEKS: Final = 4
SCALE_MIN: Final = np.float32(0.002)
"""Errors below this share of capacity are as good as none."""
LARGEST_ERROR: Final = np.float32(6)
"""Errors end at so many of a series' usual: one spike must not teach a feed."""
CONTROLS: Final = 14
"""What needs no feed to be known: time of day and week, of what is forecast and of when, the forecast
itself, its last error, and a day of rest, which on any day may be closer to what comes than the forecast."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """A model's errors at many origins and leads, and what could be known of them without a feed."""

    origins: NDArray[np.int64]
    """(origins,) steps of the panel before each."""
    leads: NDArray[np.int64]
    """(leads,) steps ahead."""
    quantiles: NDArray[np.float32]
    """(levels, origins, leads, series) what the model said, at the first `LEVELS` levels."""
    actual: NDArray[np.float32]
    """(origins, leads, series) what came, NaN where missing."""
    controls: NDArray[np.float32]
    """(origins, leads, series, `CONTROLS`)."""
    rest_day: NDArray[np.float32]
    """(origins, leads, series) a day of rest less the forecast, in units of ``scale``."""
    scale: NDArray[np.float32]
    """(series,) the usual size of an error before anything is tested, shares of capacity."""
    tested_in: NDArray[np.int64]
    """(origins,) the block an origin is tested in; -1: it only teaches."""
    teaches_from: NDArray[np.int64]
    """(origins, leads) the first block that begins after what came was seen; the number of blocks: none."""
    blocks: int


def bucket_of(leads: NDArray[np.int64], step_seconds: int) -> NDArray[np.int64]:
    """Return which of the coefficients each lead takes, (leads,): they part where the next lag is known."""
    return np.searchsorted(np.array(LAGS_SECONDS[1:]), leads * step_seconds, side="left")


BUCKETS: Final = len(LAGS_SECONDS)


def plan_origins(panel: Panel, horizon_steps: int) -> NDArray[np.int64]:
    """Return the origins, evenly over the history after its first part; none if it is too short."""
    day = max(1, round(DAY_SECONDS / panel.step_seconds))
    first = min(max(int(panel.steps * FIRST_RATIO), day), FIRST_DAYS_MAX * day)
    last = panel.steps - horizon_steps
    if last - first < BLOCKS_MIN * day:
        return np.empty(0, dtype=np.int64)
    leads = min(horizon_steps, LEADS_MAX)
    fitting = SAMPLES_MAX // max(1, leads * len(panel.names))
    count = min(max(fitting, BLOCKS_MIN * 4), ORIGINS_MAX, last - first + 1)
    return np.unique(np.linspace(first, last, count).astype(np.int64))


def leads_to(horizon_steps: int) -> NDArray[np.int64]:
    """Return the leads that are looked at: the first steps and evenly to the horizon."""
    even = np.linspace(1, horizon_steps, min(horizon_steps, LEADS_MAX // 2))
    near = np.geomspace(1, horizon_steps, min(horizon_steps, LEADS_MAX // 2))
    return np.unique(np.concatenate([even, near]).round().astype(np.int64))


def gather(base: PathForecaster, panel: Panel, horizon_steps: int) -> Samples | None:
    """Fit the model on the first part of the history and ask it at each origin; None if it is too short."""
    origins = plan_origins(panel, horizon_steps)
    if origins.size == 0 or not panel.names:
        return None
    leads = leads_to(horizon_steps)
    base.fit(panel.until(int(origins[0])))
    shape = (LEVELS, origins.size, leads.size, len(panel.names))
    quantiles = np.empty(shape, dtype=np.float32)
    for number, origin in enumerate(origins):
        said = base.paths(panel.until(int(origin)), horizon_steps).quantiles
        quantiles[:, number] = said[:LEVELS, leads - 1]
    actual = panel.shares[origins[:, None] + leads - 1]
    blocks, tested_in, teaches_from = _blocks(origins, leads, panel.step_seconds)
    error = actual - quantiles[MEDIAN]
    scale = _scale(np.where((teaches_from == 0)[:, :, None], error, np.float32(np.nan)))
    median = quantiles[MEDIAN]
    other = rest_day(panel, origins=origins, leads=leads, median=median, scale=scale)
    return Samples(
        origins=origins,
        leads=leads,
        quantiles=quantiles,
        actual=actual,
        controls=controls(panel, origins=origins, leads=leads, median=median, rest_day=other, scale=scale),
        rest_day=other,
        scale=scale,
        tested_in=tested_in,
        teaches_from=teaches_from,
        blocks=blocks,
    )


def controls(
    panel: Panel,
    *,
    origins: NDArray[np.int64],
    leads: NDArray[np.int64],
    median: NDArray[np.float32],
    rest_day: NDArray[np.float32],
    scale: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return what needs no feed to be known, (origins, leads, series, `CONTROLS`), of order one.

    ``median`` (origins, leads, series) is the forecast, its first lead one step ahead; ``rest_day`` is what
    `rest_day` returns.
    """
    step = panel.step_seconds
    middle = panel.start_seconds + (origins[:, None] + leads) * step - step / 2
    out = np.zeros((*median.shape, CONTROLS), dtype=np.float32)
    out[..., 0] = 1
    for wave in range(3):
        turn = 2 * np.pi * (wave + 1) * middle / DAY_SECONDS
        out[..., 1 + 2 * wave] = np.sin(turn)[:, :, None]
        out[..., 2 + 2 * wave] = np.cos(turn)[:, :, None]
    turn = 2 * np.pi * middle / (7 * DAY_SECONDS)
    out[..., 7], out[..., 8] = np.sin(turn)[:, :, None], np.cos(turn)[:, :, None]
    turn = 2 * np.pi * (panel.start_seconds + origins * step) / DAY_SECONDS
    out[..., 11], out[..., 12] = np.sin(turn)[:, None, None], np.cos(turn)[:, None, None]
    last = panel.shares[origins - 1]
    hour = max(1, HOUR_SECONDS // step)
    recent = panel.shares[np.maximum(origins[:, None] - 1 - np.arange(hour), 0)]
    seen = ~np.isnan(recent)
    mean = np.where(seen, recent, 0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    mean = np.where(seen.any(axis=1), mean, median[:, 0])
    out[..., 9] = np.nan_to_num((last - median[:, 0]) / scale, nan=0.0)[:, None]
    out[..., 10] = (mean[:, None] - median) / scale
    out[..., 13] = rest_day
    return np.clip(out, -LARGEST_ERROR, LARGEST_ERROR)


def rest_day(
    panel: Panel,
    *,
    origins: NDArray[np.int64],
    leads: NDArray[np.int64],
    median: NDArray[np.float32],
    scale: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return a day of rest less the forecast in units of scale, (origins, leads, series); 0 if unknown."""
    usual = rest_days(panel, origins=origins, leads=leads, weeks=REST_WEEKS)
    other = np.nan_to_num((usual - median) / scale, nan=0.0)
    return np.clip(other, -LARGEST_ERROR, LARGEST_ERROR).astype(np.float32)


def _blocks(
    origins: NDArray[np.int64], leads: NDArray[np.int64], step_seconds: int
) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Return how many blocks are tested, whose each origin is, and from which on each sample teaches."""
    day = max(1, round(DAY_SECONDS / step_seconds))
    first = int(origins[0] + TRAIN_RATIO * (origins[-1] - origins[0]))
    blocks = min(BLOCKS_MAX, max(1, (int(origins[-1]) + 1 - first) // day))
    starts = np.linspace(first, int(origins[-1]) + 1, blocks + 1)[:-1].round().astype(np.int64)
    tested_in = np.searchsorted(starts, origins, side="right") - 1
    teaches_from = np.searchsorted(starts, origins[:, None] + leads, side="left")
    return blocks, tested_in, teaches_from


def _scale(error: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the root mean square of the errors of each series, at least `SCALE_MIN`."""
    seen = ~np.isnan(error)
    total = np.square(np.where(seen, error, 0)).sum(axis=(0, 1))
    return np.maximum(np.sqrt(total / np.maximum(seen.sum(axis=(0, 1)), 1)), SCALE_MIN).astype(np.float32)


def pinball(quantiles: NDArray[np.float32], actual: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean pinball loss over the first `LEVELS` levels, NaN where nothing came.

    ``quantiles`` has the levels first; the rest is the shape of ``actual`` and of what is returned.
    """
    total = np.zeros(actual.shape, dtype=np.float32)
    for level, said in zip(PATH_LEVELS[:LEVELS], quantiles, strict=True):
        over = actual - said
        total += np.maximum(level * over, (level - 1) * over)
    return total / np.float32(LEVELS)
