"""What a report on models says in words: what each model is, what is measured, and the headline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from tidegate.lab.report.words import RESOURCE_WORDS, duration, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidegate.lab.forecasts.table import Row

MODELS: Final[Mapping[str, str]] = {
    "last": "What it was last, and how far it moved from there so far: the least a model must beat.",
    "seasonal_naive": "What it was at this time yesterday, and how far that was off so far.",
    "percentile": "Percentiles of all that was seen, whatever the time.",
    "recent_peak": "The peak of the time just past, the rule behind most thresholds.",
    "profile": "What is usual at this time of day and day of the week.",
    "arima": "ARIMA, chosen by itself for each series: what follows from the last values and errors.",
    "ets": "Exponential smoothing, chosen by itself for each series: level, trend and season.",
    "theta": "The theta method for each series: a smoothed level that drifts.",
    "mstl": "Several seasons (day, week) taken apart for each series, and what remains smoothed.",
    "prophet": "Prophet for each series: a trend, seasons as smooth waves, and what is known from outside.",
    "ridge": "Linear regression with shrunk weights, one for all series, on lags and time.",
    "lightgbm": "Gradient-boosted trees, one forest for all series, on lags, recent peaks and time.",
    "lstm": "A recurrent neural network, one for all series, that reads the last samples in order.",
    "fracast": "A small network trained elsewhere on other series, used as it is.",
    "engine": "Plain distributions blended by how each series stands now, and the LSTM beside them, each "
    "trusted by its record.",
    "gates": "The engine without what is trained beside it: plain distributions, blended.",
}
PLUG_IN: Final = "Not described here: see the documentation it came with."
WITH_FEEDS: Final = "The same, its paths shifted by those feeds that have shown to help."

MEASURES: Final[Sequence[tuple[str, str]]] = (
    (
        "WQL",
        (
            "Weighted quantile loss: how far nine quantiles (10 % to 90 %) were off, each side weighted by "
            "how rarely it should happen, over all that was used. 0 is perfect. All series are shares of "
            "capacity and pooled, so who uses much counts for much."
        ),
    ),
    (
        "to best",
        (
            "WQL over that of the model with the least. Beside it: where 95 % of it lies when the "
            "origins are drawn again, in runs as long as a path, the same ones for both models: where 1 lies "
            "inside, these origins don't tell the two apart."
        ),
    ),
    (
        "MASE",
        (
            "Error of the median over the error of saying what was yesterday at this time, for each series "
            "alone; below 1 is better than that. The median over series, and the mean, which a few quiet "
            "series can blow up."
        ),
    ),
    (
        "covered",
        (
            "Share of samples at or below the quantile: the 99 % quantile should cover 99 %. Below that, "
            "grants made from it run short more often than promised."
        ),
    ),
)
LIMITS: Final[Sequence[str]] = (
    ("A few origins in a few days of one fleet: small differences may turn out otherwise elsewhere."),
    (
        "A trace shows what VMs used, not what they wanted: a VM pressed against its capacity may have "
        "wanted more."
    ),
    "Better forecasts are not yet better grants: what they are worth, tidegate replay tells.",
    "The series drawn are a good, a typical and a bad one of one model, not a sample of the fleet.",
)
METHOD: Final = (
    "From each origin every model sees the samples before it and nothing later, and says quantiles of "
    "every step up to the longest horizon; every step is held against what came. Shorter horizons are the "
    "first steps of the same paths. Models for all series learn once, before the first origin; models of "
    "one series learn anew at the first origin of each day. Missing samples don't count. The same results "
    "give this page again, byte for byte; what each model took of time depends on the machine, so it "
    "stands in --json and on the screen only."
)
FANS: Final = (
    "The line is what was used, the band what was said at each origin before any of it came: the light one "
    "from the 10 % to the 90 % quantile, the dark one from 30 % to 70 %, the dashed line the median, the "
    "dotted line the 99 % quantile. Good, typical and bad are the series one, five and nine tenths down "
    "the list by WQL."
)
CALIBRATION: Final = (
    "On the diagonal a model means what it says. Below it, its quantiles are too low: more came in above "
    "them than it said. A step that covers far more than it should at low levels is often a series that "
    "stands still."
)
BY_STEP: Final = "Over all series and origins, by how far ahead the step lies."
BY_HOUR: Final = "Over all series and origins, by the hour of day (UTC) in which the step begins."
BY_ORIGIN: Final = "Over all series, by when the path began: does one bad day decide?"
WORST: Final = (
    "Series that add most to the loss of {model}. Who stands here with a large share and a WQL above those "
    "of the others is worth a look."
)


def headline(rows: Sequence[Row], yardstick: Row | None, less: tuple[float, float] | None) -> list[str]:
    """Return what a hurried reader should know about one resource and horizon, in sentences.

    ``rows`` are the best first; ``less`` is where the ratio of the best to the ``yardstick`` lies.
    """
    best = rows[0]
    where = f"Looking {duration(best.horizon_seconds)} ahead at {RESOURCE_WORDS[best.resource]}"
    if best.measures.wql is None:
        return [f"{where}, nothing was used, so nothing tells the models apart."]
    said = f"{where}, {best.model} loses least: a WQL of {best.measures.wql:.4f}"
    if yardstick is not None and yardstick.measures.wql:
        ratio = best.measures.wql / yardstick.measures.wql
        said += f", {percent(1 - ratio)} less than {yardstick.model}"
        if less is not None:
            said += f" ({percent(1 - less[1])} to {percent(1 - less[0])})"
    reached = best.measures.coverage[0.99]
    kept = [] if reached is None else [f"Its 99 % quantile covered {percent(reached)} of samples."]
    near = [row.model for row in rows[1:] if row.ratio_interval is not None and row.ratio_interval[0] <= 1]
    if near:
        kept.append(f"These origins don't tell it apart from {_listed(near)}.")
    engine = next((row for row in rows[1:] if row.model == "engine" and row.ratio is not None), None)
    if engine is not None and engine.ratio is not None:
        kept.append(f"engine is {percent(engine.ratio - 1)} above it.")
    return [said + ".", *kept]


def loss_text(value: float | None) -> str:
    """Return a WQL or MASE as it stands in tables."""
    if value is None or not math.isfinite(value):
        return "n/a"
    return f"{value:.4f}" if value < 10 else f"{value:,.4g}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
