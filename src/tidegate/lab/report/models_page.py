"""The page of models side by side: who loses least, how sure that is, where, and what it looked like."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.app.path_models import without_feeds
from tidegate.lab.forecasts.intervals import drawn_origins, ratio_interval
from tidegate.lab.forecasts.measures import LEVELS, wql
from tidegate.lab.forecasts.run import origins_in
from tidegate.lab.forecasts.table import rows_of
from tidegate.lab.panels import panel_of
from tidegate.lab.report import models_words as words
from tidegate.lab.report.document import capital, chart, document, explained, facts, prose
from tidegate.lab.report.models_figures import Curve, calibration_figure, curves_figure, fan_figure
from tidegate.lab.report.words import RESOURCE_WORDS, duration, moment, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tidegate.lab.forecasts.measures import PathTally
    from tidegate.lab.forecasts.origins import Origins
    from tidegate.lab.forecasts.run import ForecastResult, ForecastSettings
    from tidegate.lab.forecasts.table import Row
    from tidegate.model.resources import Resource
    from tidegate.model.trace import Trace

YARDSTICKS: Final = ("seasonal_naive", "last")
"""Whom the headline compares the best with: the first that ran and is not the best itself."""
WORST_MAX: Final = 10
LOSS: Final = "WQL"
COLUMNS: Final = (
    "model",
    "WQL",
    "95 % of draws",
    "to best",
    "95 % of draws",
    "MASE,<br>median",
    "MASE,<br>mean",
    "covered<br>by 90 %",
    "covered<br>by 95 %",
    "covered<br>by 99 %",
)
WORST_COLUMNS: Final = ("VM", "share of<br>all loss", "WQL", "MASE", "mean use")


def models_html(trace: Trace, results: Sequence[ForecastResult], settings: ForecastSettings) -> str:
    """Return the report of models side by side as one self-contained HTML file.

    ``trace`` is the one the results are of, with known capacity; fans are drawn where runs kept them.
    """
    origins = origins_in(trace, settings)
    title = f"Models side by side on {trace.name}"
    resources = list(dict.fromkeys(result.run.resource for result in results))
    links = [(resource.label, capital(resource)) for resource in resources]
    body = [f"<h1>{escape(title)}</h1>"]
    sections = []
    for resource in resources:
        part = _Part(trace, resource, results, origins, settings)
        body.append(part.headline())
        sections.append(part.section())
    body += [
        _facts(trace, origins, settings),
        "<nav>"
        + " ".join(f'<a href="#{to}">{text}</a>' for to, text in [*links, ("how", "How it was measured")])
        + "</nav>",
        "<noscript><p>The charts need JavaScript; every number is in the tables below.</p></noscript>",
        *sections,
        _how(list(dict.fromkeys(result.run.model for result in results))),
    ]
    return document(title, body)


def _facts(trace: Trace, origins: Origins, settings: ForecastSettings) -> str:
    step = trace.step_seconds
    apart = "" if len(origins.steps) == 1 else f", {duration(origins.steps_apart * step)} apart"
    return facts(
        (
            ("Series", f"{len(trace.vms)} VMs"),
            ("Span", f"{duration(trace.ticks * step)} from {moment(trace.start_seconds)} UTC"),
            ("Step", duration(step)),
            ("Origins", f"{len(origins.steps)}{apart}"),
            ("First origin", f"{moment(trace.start_seconds + origins.steps[0] * step)} UTC"),
            ("Horizons", ", ".join(duration(steps * step) for steps in origins.horizons_steps)),
            ("Seed", str(settings.seed)),
        )
    )


class _Part:
    """One resource: its results, and the pieces of the page made from them."""

    def __init__(
        self,
        trace: Trace,
        resource: Resource,
        results: Sequence[ForecastResult],
        origins: Origins,
        settings: ForecastSettings,
    ) -> None:
        self._trace, self._resource, self._origins, self._settings = trace, resource, origins, settings
        self._results = [result for result in results if result.run.resource is resource]
        self._by_name = {result.run.model: result for result in self._results}
        self._rows = [
            rows_of(self._results, origins, horizon, step_seconds=trace.step_seconds, seed=settings.seed)
            for horizon in range(len(origins.horizons_steps))
        ]

    def headline(self) -> str:
        """Return the box with what matters most, a paragraph per horizon."""
        said = []
        for horizon, rows in enumerate(self._rows):
            others = {row.model: row for row in rows[1:]}
            yardstick = next((others[name] for name in YARDSTICKS if name in others), None)
            less = None
            if yardstick is not None:
                best, against = (self._by_name[row.model].tally for row in (rows[0], yardstick))
                drawn = drawn_origins(self._origins, horizon, self._settings.seed)
                less = ratio_interval(best, against, horizon, drawn)
            first, *rest = words.headline(rows, yardstick, less)
            said.append(f"<p>{prose(first)}</p>")
            if rest:
                said.append(f'<p class="soft">{prose(" ".join(rest))}</p>')
        return f'<div class="headline"><h2>{capital(self._resource)}</h2>{"".join(said)}</div>'

    def section(self) -> str:
        """Return tables, charts and series."""
        label = self._resource.label
        parts = [f'<section id="{label}">\n<h2>{capital(self._resource)}</h2>']
        for horizon, rows in enumerate(self._rows):
            parts += [f"<h3>{self._span(horizon)} ahead: who loses least</h3>", self._table(rows)]
        parts += self._fans()
        for horizon in range(len(self._rows)):
            parts += [
                f"<h3>{self._span(horizon)} ahead: does it mean what it says?</h3>",
                f"<p>{prose(words.CALIBRATION)}</p>" if horizon == 0 else "",
                self._calibration(horizon),
            ]
        longest = self._span(len(self._rows) - 1)
        if self._origins.horizon_steps > 1:
            parts += [
                "<h3>Loss by how far ahead</h3>",
                f"<p>{words.BY_STEP}</p>",
                self._curves("step", lambda of: (of.loss_by_step, of.size_by_step), *self._ahead()),
            ]
        hours = {"title": {"text": "hour of day, UTC"}, "dtick": 3, "range": [-0.5, 23.5]}
        parts += [
            f"<h3>Loss by hour of day, {longest} ahead</h3>",
            f"<p>{words.BY_HOUR}</p>",
            self._curves("hour", lambda of: (of.loss_by_hour, of.size_by_hour), range(24), hours),
        ]
        if len(self._origins.steps) > 1:
            parts += [
                f"<h3>Loss by origin, {longest} ahead</h3>",
                f"<p>{words.BY_ORIGIN}</p>",
                self._curves(
                    "origin",
                    lambda of: (of.loss_by_origin[-1], of.size_by_origin[-1]),
                    [self._milliseconds(steps) for steps in self._origins.steps],
                    {"type": "date", "hoverformat": "%a %d %b %Y %H:%M UTC"},
                ),
            ]
        return "\n".join([*parts, *self._worst(), "</section>"])

    def _span(self, horizon: int) -> str:
        return duration(self._origins.horizons_steps[horizon] * self._trace.step_seconds)

    def _milliseconds(self, steps: int) -> int:
        return (self._trace.start_seconds + steps * self._trace.step_seconds) * 1000

    def _table(self, rows: Sequence[Row]) -> str:
        name = f"{capital(self._resource)}: measures of every model"
        lines = [_line(row, best=at == 0 and row.measures.wql is not None) for at, row in enumerate(rows)]
        of = rows[0].measures
        note = f"{of.series:,} series counted"
        if of.series_without_scale:
            without = f"{of.series_without_scale:,} without MASE"
            note += f"; {without}, since no day of theirs differs from the one before"
        return f'{_tabular(COLUMNS, lines, name)}\n<p class="soft">{note}.</p>'

    def _calibration(self, horizon: int) -> str:
        levels = (100 * LEVELS).round(4).tolist()
        curves = [
            Curve(model=result.run.model, x=levels, y=100 * result.tally.calibration(horizon))
            for result in self._ranked()
        ]
        name = f"calibration-{self._resource.label}-{self._origins.horizons_steps[horizon]}"
        return chart(name, calibration_figure(curves), f"{capital(self._resource)}: calibration", "frontier")

    def _curves(
        self,
        kind: str,
        of: Callable[[PathTally], tuple[NDArray[np.float64], NDArray[np.float64]]],
        x: Sequence[float],
        xaxis: dict[str, object],
    ) -> str:
        curves = [Curve(model=result.run.model, x=x, y=wql(*of(result.tally))) for result in self._ranked()]
        figure = curves_figure(curves, xaxis, y_title=LOSS)
        return chart(
            f"{kind}-{self._resource.label}", figure, f"{capital(self._resource)}: loss by {kind}", "frontier"
        )

    def _ahead(self) -> tuple[Sequence[float], dict[str, object]]:
        """Return how far ahead each step ends, in a unit that people read, and the axis."""
        step, steps = self._trace.step_seconds, self._origins.horizon_steps
        unit, length = ("hours", 3600) if steps * step > 2 * 3600 else ("minutes", 60)
        ahead = ((np.arange(steps) + 1) * step / length).round(4).tolist()
        return ahead, {"title": {"text": f"{unit} ahead"}, "rangemode": "tozero"}

    def _ranked(self) -> list[ForecastResult]:
        """Return the results, the best at the longest horizon first."""
        return [self._by_name[row.model] for row in self._rows[-1]]

    def _fans(self) -> list[str]:
        best = self._ranked()[0]
        if not best.fans:
            return []
        panel = panel_of(self._trace, self._resource)
        name = escape(best.run.model)
        listed = _listed([fan.kind for fan in best.fans])
        parts = [f"<h3>Series under {name}: {listed}</h3>", f"<p>{prose(words.FANS)}</p>"]
        for fan in best.fans:
            said = f"WQL {words.loss_text(fan.wql)} over all {len(self._origins.steps)} origins."
            if fan.begins.size < len(self._origins.steps):
                said += f" Of overlapping paths, {fan.begins.size} are drawn."
            parts += [
                f"<h4>{fan.kind.capitalize()}: {escape(panel.names[fan.series])}</h4>",
                f'<p class="soft">{said}</p>',
                chart(
                    f"fan-{self._resource.label}-{fan.kind}",
                    fan_figure(fan, panel),
                    f"{fan.kind.capitalize()} series, and what was said of it",
                    "vm",
                ),
            ]
        return parts

    def _worst(self) -> list[str]:
        best = self._ranked()[0]
        of = best.tally
        whole = of.loss_by_series[-1].sum()
        if not whole > 0:
            return []
        order = np.argsort(-of.loss_by_series[-1], kind="stable")[:WORST_MAX]
        loss, mase = wql(of.loss_by_series[-1], of.size_by_series[-1]), of.mase_by_series(-1)
        lines = []
        for at in order[of.loss_by_series[-1][order] > 0]:
            cells = (
                percent(float(of.loss_by_series[-1, at] / whole)),
                words.loss_text(float(loss[at])),
                words.loss_text(float(mase[at])),
                percent(float(of.size_by_series[-1, at] / of.samples_by_series[-1, at])),
            )
            lines.append(_cells(self._trace.vms[at], cells, bold=False))
        return [
            "<h3>Where the loss comes from</h3>",
            f"<p>{escape(words.WORST.format(model=best.run.model))}</p>",
            _tabular(WORST_COLUMNS, lines, f"{RESOURCE_WORDS[self._resource]}: series that lose most"),
        ]


def _line(row: Row, *, best: bool) -> str:
    of = row.measures
    cells = (
        words.loss_text(of.wql),
        _between(row.wql_interval),
        "n/a" if row.ratio is None else f"{row.ratio:.3f}",
        "" if best else _between(row.ratio_interval),
        words.loss_text(of.mase_median),
        words.loss_text(of.mase_mean),
        *(percent(reached) for reached in of.coverage.values()),
    )
    return _cells(row.model, cells, bold=best)


def _between(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else "{:.3f} to {:.3f}".format(*interval)


def _cells(name: str, cells: Sequence[str], *, bold: bool) -> str:
    style = ' class="asked"' if bold else ""
    line = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr{style}><th scope="row">{escape(name).replace("_", "_<wbr>")}</th>{line}</tr>\n'


def _tabular(columns: Sequence[str], lines: Sequence[str], name: str) -> str:
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    return (
        f'<div class="table" role="region" aria-label="{name}" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _said_of(model: str) -> str:
    if without_feeds(model) != model:
        return words.WITH_FEEDS
    return words.MODELS.get(model, words.PLUG_IN)


def _how(models: Sequence[str]) -> str:
    others = [(name, said) for name, said in words.MODELS.items() if name not in models]
    limits = "".join(f"<li>{escape(limit)}</li>" for limit in words.LIMITS)
    parts = [
        '<section id="how">\n<h2>How it was measured</h2>',
        f"<p>{prose(words.METHOD)}</p>",
        "<h3>Measures</h3>",
        explained(words.MEASURES),
        "<h3>Models in this report</h3>",
        explained([(name, _said_of(name)) for name in models]),
    ]
    if others:
        parts.append(f"<details><summary>Models that were not run</summary>{explained(others)}</details>")
    return "\n".join([*parts, "<h3>What this report can't show</h3>", f"<ul>{limits}</ul>", "</section>"])


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
