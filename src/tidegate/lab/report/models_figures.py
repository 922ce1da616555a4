"""The charts of a report on models: fans over what came, calibration, and loss by step, hour and origin."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import plotly.graph_objects as go

from tidegate.lab.forecasts.measures import LEVELS, MEDIAN
from tidegate.lab.report.figures import LOOKS, PLUG_IN_LOOKS, QUIET, Look, figure_json, zoom_buttons
from tidegate.lab.report.words import moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.lab.forecasts.fans import Fan
    from tidegate.model.panel import Panel

# Colours with a contrast of 3 to 1 or more on white and on the dark background alike; the dash and the
# marker tell models apart, too.
MODEL_LOOKS: Final[Mapping[str, Look]] = {
    "engine": LOOKS["tidegate"],
    "last": LOOKS["static"],
    "seasonal_naive": LOOKS["calibrated_reactive"],
    "percentile": LOOKS["reactive"],
    "recent_peak": PLUG_IN_LOOKS[0],
    "profile": LOOKS["vpa"],
    "arima": PLUG_IN_LOOKS[1],
    "ets": PLUG_IN_LOOKS[2],
    "theta": PLUG_IN_LOOKS[3],
    "mstl": Look("#b0568f", "cross", "dot"),
    "prophet": LOOKS["offload_first"],
    "ridge": LOOKS["autopilot_window"],
    "lightgbm": LOOKS["n_sigma"],
    "lstm": Look("#7c8a1e", "star", "longdashdot"),
    "fracast": Look("#8a6fd1", "star-square", "dash"),
    "gates": Look("#2f8f83", "hexagon", "dash"),
}
CAME, SAID = "#1f7fc4", "#9467bd"
OUTER, INNER = "rgba(148,103,189,0.26)", "rgba(148,103,189,0.40)"
BANDS: Final = ((0.1, 0.9, OUTER), (0.3, 0.7, INNER))
HISTORY_SECONDS: Final = 86_400
"""What a fan chart shows before the first path begins."""
VIEW_HORIZONS: Final = 40
"""How many horizons a fan chart shows at first, its end; more would make each path a hair."""
HEADROOM: Final = 1.12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """One model's points."""

    model: str
    x: Sequence[Any]
    y: NDArray[np.float64]


def look_of(model: str, models: Sequence[str]) -> Look:
    """Return how a model is drawn, the same in every chart of a page on ``models``."""
    if model in MODEL_LOOKS:
        return MODEL_LOOKS[model]
    plug_ins = [name for name in models if name not in MODEL_LOOKS]
    return PLUG_IN_LOOKS[plug_ins.index(model) % len(PLUG_IN_LOOKS)]


def curves_figure(curves: Sequence[Curve], xaxis: Mapping[str, Any], *, y_title: str) -> str:
    """Return a chart of one line per model."""
    models = [curve.model for curve in curves]
    layout = _layout(xaxis, {"title": {"text": y_title}, "rangemode": "tozero", "automargin": True})
    return figure_json([_line(curve, look_of(curve.model, models)) for curve in curves], layout)


def calibration_figure(curves: Sequence[Curve]) -> str:
    """Return the chart of what was covered (percent) over what should have been."""
    models = [curve.model for curve in curves]
    ideal = go.Scatter(
        name="as said",
        x=[0, 100],
        y=[0, 100],
        mode="lines",
        line={"color": QUIET, "width": 1.2, "dash": "dash"},
        hoverinfo="skip",
    )
    axis = {"range": [0, 102], "ticksuffix": " %", "automargin": True}
    layout = _layout(
        axis | {"title": {"text": "level of the quantile"}},
        axis | {"title": {"text": "samples at or below it"}},
    )
    lines = [_line(curve, look_of(curve.model, models), template="%{y:.1f} %") for curve in curves]
    return figure_json([ideal, *lines], layout)


def fan_figure(fan: Fan, panel: Panel) -> str:
    """Return the chart of one series: what came, and what was said at each origin, percent of capacity."""
    step = panel.step_seconds
    steps = fan.quantiles.shape[2]
    begin = max(0, int(fan.begins[0]) - max(HISTORY_SECONDS // step, steps))
    end = int(fan.begins[-1]) + steps
    said = np.full((LEVELS.size, end - begin), np.nan, dtype=np.float32)
    for at, quantiles in zip(fan.begins, fan.quantiles, strict=True):
        said[:, at - begin : at - begin + steps] = 100 * quantiles
    came = 100 * panel.shares[begin:end, fan.series]

    def line(values: NDArray[np.float32], name: str, style: Mapping[str, Any], **more: Any) -> go.Scatter:  # noqa: ANN401
        start = panel.start_seconds + begin * step
        return go.Scatter(
            x0=f"{moment(start)}:{start % 60:02d}",
            dx=step * 1000,
            y=values.astype(np.float32),
            name=name,
            mode="lines",
            line={"shape": "hv", **style},
            **({"hovertemplate": "%{y:.1f} %"} | more),
        )

    traces = []
    for low, high, colour in BANDS:
        traces += _band(said, low, high, colour, line)
    traces += [
        line(said[-1], "99 %", {"color": SAID, "width": 1, "dash": "dot"}),
        line(said[MEDIAN], "median", {"color": SAID, "width": 1.8, "dash": "dash"}),
        line(came, "what came", {"color": CAME, "width": 1.4}),
    ]
    top = float(np.nanmax(np.stack([came, said[-1]]), initial=1.0))
    first = max(begin, end - VIEW_HORIZONS * steps)
    times = [(panel.start_seconds + row * step) * 1000 for row in (first, end)]
    layout = {
        "hovermode": "x unified",
        "margin": {"l": 52, "r": 12, "t": 34, "b": 66},
        "legend": {"orientation": "h", "x": 0, "y": 0, "yanchor": "bottom", "yref": "container"},
        "xaxis": {
            "type": "date",
            "range": times,
            "hoverformat": "%a %d %b %Y %H:%M UTC",
            "rangeselector": {
                "buttons": zoom_buttons((end - begin) * step),
                "x": 0,
                "y": 1.02,
                "yanchor": "bottom",
            },
        },
        "yaxis": {
            "title": {"text": "% of capacity"},
            "range": [-0.02 * top, min(104, HEADROOM * top)],
            "automargin": True,
        },
    }
    return figure_json(traces, layout)


def _band(said: NDArray[np.float32], low: float, high: float, colour: str, line: Any) -> list[go.Scatter]:  # noqa: ANN401
    """Return the filled space between two levels; between paths it has no height."""
    under, over = (said[int(np.flatnonzero(level == LEVELS)[0])] for level in (low, high))
    # Plotly fills straight across gaps: there both edges lie where the path before ended.
    known = np.flatnonzero(~np.isnan(under))
    last = known[np.maximum(np.searchsorted(known, np.arange(under.size), side="right") - 1, 0)]
    held = under[last]
    silent = {"hoverinfo": "skip", "hovertemplate": None}
    flat = {"width": 0, "color": SAID}
    name = f"{low:.0%} to {high:.0%}".replace("%", " %")
    return [
        line(held, "", flat, showlegend=False, legendgroup=name, **silent),
        line(
            np.where(np.isnan(over), held, over),
            name,
            flat,
            fill="tonexty",
            fillcolor=colour,
            legendgroup=name,
            **silent,
        ),
    ]


def _line(curve: Curve, look: Look, template: str = "%{y:.4f}") -> go.Scatter:
    return go.Scatter(
        name=escape(curve.model, quote=False),
        x=list(curve.x),
        y=[float(f"{value:.5g}") if np.isfinite(value) else None for value in curve.y],
        mode="lines+markers" if len(curve.x) <= 50 else "lines",
        line={"color": look.colour, "width": 2, "dash": look.dash},
        marker={"color": look.colour, "symbol": look.symbol, "size": 7},
        hovertemplate=template,
    )


def _layout(xaxis: Mapping[str, Any], yaxis: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "hovermode": "x unified",
        "margin": {"l": 62, "r": 16, "t": 12, "b": 52},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": {"automargin": True, **xaxis},
        "yaxis": dict(yaxis),
    }
