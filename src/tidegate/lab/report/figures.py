"""The charts of a report, as JSON for plotly.js; the page adds colours that depend on light and dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import plotly.graph_objects as go

from tidegate.lab.history import BAND_LEVELS
from tidegate.lab.report.words import ORACLE, moment, percent, rate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.lab.report.frontier import Frontier, Line, Point
    from tidegate.lab.report.series import VmSeries


class Look(NamedTuple):
    """How a policy is drawn: colour, marker and dash, so that nothing hangs on colour alone."""

    colour: str
    symbol: str
    dash: str


# Colours with a contrast of 3 to 1 or more on white and on the dark background alike.
LOOKS: Final[Mapping[str, Look]] = {
    "tidegate": Look("#1f7fc4", "circle", "solid"),
    "calibrated_reactive": Look("#d2620a", "square", "dash"),
    "vpa": Look("#9467bd", "diamond", "dot"),
    "autopilot_window": Look("#0f9070", "triangle-up", "dashdot"),
    "n_sigma": Look("#c2568f", "x", "longdash"),
    "reactive": Look("#9a7b18", "triangle-down", "longdashdot"),
    "static": Look("#7f868f", "hexagon", "dot"),
    "offload_first": Look("#5b6ee1", "pentagon", "dash"),
    ORACLE: Look("#7c8a1e", "star", "dot"),
}
PLUG_IN_LOOKS: Final = (
    Look("#d0495a", "hourglass", "dash"),
    Look("#16899c", "bowtie", "dot"),
    Look("#a8672f", "star-diamond", "dashdot"),
    Look("#6f8f3a", "hexagram", "longdash"),
)
USED, GRANT, BAND, SHORT, QUIET = "#1f7fc4", "#d2620a", "rgba(148,103,189,0.28)", "#d93648", "#8a919b"
BAND_EDGE: Final = "rgba(148,103,189,0.75)"
WARMUP_FILL: Final = "rgba(138,145,155,0.16)"
READABLE: Final = ".4~r"
"""Four significant digits, never an exponent."""
BUTTONS: Final = (("last day", 1, "day"), ("week", 7, "day"), ("4 weeks", 28, "day"))


def frontier_figure(frontier: Frontier) -> str:
    """Return the chart of reserved against violations of one resource."""
    sla = frontier.sla
    plug_ins = [line.policy for line in frontier.lines if line.policy not in LOOKS]
    traces = [_frontier_line(line, _look(line.policy, plug_ins), frontier) for line in frontier.lines]
    low, high = np.log10(frontier.view)
    layout = {
        "hovermode": "closest",
        "margin": {"l": 62, "r": 16, "t": 12, "b": 52},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": {"title": {"text": "reserved, share of capacity"}, "ticksuffix": " %", "automargin": True}
        | ({} if frontier.reserved_max is None else {"range": [0, _trim(100 * frontier.reserved_max)]}),
        "yaxis": {
            "type": "log",
            "title": {"text": "violations, share of samples"},
            "range": [float(low), float(high)],
            "tickvals": [value for value, _ in frontier.ticks],
            "ticktext": [text for _, text in frontier.ticks],
            "automargin": True,
        },
        "shapes": [
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": sla,
                "y1": sla,
                "line": {"color": SHORT, "width": 1.5, "dash": "dash"},
            }
        ],
        "annotations": [
            {
                "xref": "paper",
                "x": 1,
                "y": float(np.log10(sla)),
                "text": f"SLA {rate(sla)}",
                "showarrow": False,
                "xanchor": "right",
                "yanchor": "bottom",
            }
        ],
    }
    return figure_json(traces, layout)


def _look(policy: str, plug_ins: Sequence[str]) -> Look:
    if policy in LOOKS:
        return LOOKS[policy]
    return PLUG_IN_LOOKS[plug_ins.index(policy) % len(PLUG_IN_LOOKS)]


def _frontier_line(line: Line, look: Look, frontier: Frontier) -> go.Scatter:
    several = len(line.points) > 1
    asked = [point.sla == frontier.sla for point in line.points]
    sizes = [(15 if line.policy == ORACLE else 12) if here or not several else 8 for here in asked]
    name = escape(line.policy, quote=False)
    return go.Scatter(
        name=name,
        x=[_trim(100 * point.reserved_ratio) for point in line.points],
        y=[_trim(point.violation_ratio or frontier.zero_at) for point in line.points],
        mode="lines+markers" if several else "markers",
        line={"color": look.colour, "width": 2, "dash": look.dash},
        marker={
            "color": look.colour,
            "symbol": look.symbol,
            "size": sizes,
            "opacity": 1,
            "line": {"width": 0},
        },
        text=[
            _hover(point, name if not several else f"{name} at SLA {rate(point.sla)}")
            for point in line.points
        ],
        hoverinfo="text",
    )


def _hover(point: Point, name: str) -> str:
    return (
        f"<b>{name}</b><br>reserved {percent(point.reserved_ratio)}"
        f"<br>violations {percent(point.violation_ratio)}"
        f"<br>VMs within SLA {percent(point.vms_within_sla_ratio)}"
    )


def vm_figure(series: VmSeries) -> str:
    """Return the chart of one VM: forecast, grant, use, capacity, and where it ran short."""
    traces = [*_forecast(series)]
    traces.append(_steps(series, series.capacity, "capacity", {"color": QUIET, "width": 1.5, "dash": "dot"}))
    traces.append(_steps(series, series.used, "use", {"color": USED, "width": 1.2}))
    traces.append(_steps(series, series.grant, "grant", {"color": GRANT, "width": 1.8}))
    if series.short_seconds.size:
        traces.append(_short(series))
    top = series.view_max
    layout = {
        "hovermode": "x unified",
        "margin": {"l": 52, "r": 12, "t": 34, "b": 66},
        "legend": {"orientation": "h", "x": 0, "y": 0, "yanchor": "bottom", "yref": "container"},
        "xaxis": {
            "type": "date",
            "range": [series.start_seconds * 1000, series.end_seconds * 1000],
            "hoverformat": "%a %d %b %Y %H:%M UTC",
            "rangeselector": {
                "buttons": zoom_buttons(series.end_seconds - series.start_seconds),
                "x": 0,
                "y": 1.02,
                "yanchor": "bottom",
            },
        },
        "yaxis": {"title": {"text": series.unit}, "automargin": True}
        | ({"rangemode": "tozero"} if top is None else {"range": [-0.02 * top, top]}),
    }
    if series.measured_from_seconds > series.start_seconds:
        layout |= _warmup(series)
    return figure_json(traces, layout)


def _forecast(series: VmSeries) -> list[go.Scatter]:
    """Return the band between two levels, or one line where the policy expects a single number."""
    low, high = series.band
    known = ~np.isnan(low) & ~np.isnan(high)
    if not known.any():
        return []
    edge = {"color": BAND_EDGE, "width": 0.8}
    if np.array_equal(low[known], high[known]):
        return [_steps(series, high, "forecast", edge | {"dash": "dash", "width": 1.4})]
    # Plotly fills straight across gaps: there the filled shape has no height, and the hover no number.
    held = _held(np.where(known, low, np.nan))
    names = [f"forecast, {rate(level)}" for level in BAND_LEVELS]
    silent = {"hoverinfo": "skip", "hovertemplate": None, "legendgroup": "forecast"}
    flat = {"width": 0, "color": BAND_EDGE}
    return [
        _steps(series, held, "", flat, showlegend=False, **silent),
        _steps(
            series,
            np.where(known, high, held),
            f"forecast, {rate(BAND_LEVELS[0])} to {rate(BAND_LEVELS[1])}",
            flat,
            fill="tonexty",
            fillcolor=BAND,
            **silent,
        ),
        _steps(series, high, names[1], edge, showlegend=False, legendgroup="forecast"),
        _steps(series, low, names[0], edge, showlegend=False, legendgroup="forecast"),
    ]


def _held(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill gaps with the last known value, and the start with the first."""
    known = np.flatnonzero(~np.isnan(values))
    last = np.maximum(np.searchsorted(known, np.arange(values.size), side="right") - 1, 0)
    return values[known[last]]


def _steps(
    series: VmSeries,
    values: NDArray[np.float32],
    name: str,
    line: Mapping[str, Any],
    **more: Any,  # noqa: ANN401 - whatever else plotly takes
) -> go.Scatter:
    """Return one line on the regular grid: each value holds until the next."""
    given = {"hovertemplate": f"%{{y:{READABLE}}} {series.unit}", "name": name} | more
    return go.Scatter(
        x0=moment(series.start_seconds) + f":{series.start_seconds % 60:02d}",
        dx=series.point_seconds * 1000,
        y=values.astype(np.float32),
        mode="lines",
        line={"shape": "hv", **line},
        **given,
    )


def _short(series: VmSeries) -> go.Scatter:
    return go.Scatter(
        name="ran short",
        x=[seconds * 1000 for seconds in series.short_seconds.tolist()],
        y=series.short_used,
        customdata=series.short_by,
        hovertemplate=f"by %{{customdata:{READABLE}}} {series.unit}",
        mode="markers",
        marker={"color": SHORT, "symbol": "x-thin", "size": 7, "line": {"color": SHORT, "width": 1.6}},
    )


def _warmup(series: VmSeries) -> dict[str, Any]:
    """Return the shade over the warm-up, and its name in the corner."""
    end = series.measured_from_seconds * 1000
    shade = {
        "type": "rect",
        "yref": "paper",
        "x0": series.start_seconds * 1000,
        "x1": end,
        "y0": 0,
        "y1": 1,
        "fillcolor": WARMUP_FILL,
        "line": {"width": 0},
        "layer": "below",
    }
    corner = {"yref": "paper", "y": 1, "xanchor": "right", "yanchor": "top", "showarrow": False}
    return {
        "shapes": [shade],
        "annotations": [corner | {"x": end, "text": "warm-up", "font": {"size": 12}}],
    }


def zoom_buttons(span_seconds: int) -> list[dict[str, Any]]:
    """Return the zooms that are shorter than what is drawn; each shows its end."""
    zooms = [
        {"label": label, "count": count, "step": step, "stepmode": "backward"}
        for label, count, step in BUTTONS
        if count * 86_400 < span_seconds
    ]
    return [*zooms, {"label": "all", "step": "all"}]


def _trim(value: float) -> float:
    """Return five significant digits."""
    return float(f"{value:.5g}")


def figure_json(traces: Sequence[go.Scatter], layout: Mapping[str, Any]) -> str:
    """Return a figure as JSON that may stand inside a script element."""
    clear = {"template": "none", "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)"}
    figure = go.Figure(data=list(traces), layout={**clear, **layout})
    text: str = figure.to_json(engine="json")
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
