"""The page of a report: what stands on it, in which order, as one HTML file that loads nothing."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from tidegate.lab.report import meaning
from tidegate.lab.report.document import capital, chart, document, explained, facts, prose
from tidegate.lab.report.figures import frontier_figure, vm_figure
from tidegate.lab.report.frontier import frontier_of
from tidegate.lab.report.series import series_of
from tidegate.lab.report.words import (
    asked,
    by_preference,
    duration,
    gap_of,
    headline,
    moment,
    number,
    percent,
    rate,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.lab.history import Exemplar
    from tidegate.lab.replay import ReplaySettings, RunResult
    from tidegate.lab.report.series import VmSeries
    from tidegate.model.trace import Trace


def report_html(trace: Trace, results: Sequence[RunResult], settings: ReplaySettings) -> str:
    """Return the report of a replay as one self-contained HTML file.

    ``trace`` is the one that was replayed, with known capacity; ``results`` may hold further SLAs.
    """
    title = f"Replay of {trace.name}"
    links = [(resource.label, capital(resource)) for resource in trace.resources]
    links += [("measures", "Measures"), ("how", "How each number was made")]
    body = [
        f"<h1>{escape(title)}</h1>",
        *(_headline(trace, row, results, settings) for row in range(len(trace.resources))),
        _facts_of(trace, settings),
        "<nav>" + " ".join(f'<a href="#{to}">{text}</a>' for to, text in links) + "</nav>",
        "<noscript><p>The charts need JavaScript; every number is in the tables below.</p></noscript>",
        *(_resource(trace, row, results, settings) for row in range(len(trace.resources))),
        _measures(trace, results, settings),
        _how(results, settings),
    ]
    return document(title, body)


def _headline(trace: Trace, row: int, results: Sequence[RunResult], settings: ReplaySettings) -> str:
    resource = trace.resources[row]
    first, *rest = headline(resource, row, results, settings.sla)
    text = f"<p>{prose(first)}</p>" + (f'<p class="soft">{prose(" ".join(rest))}</p>' if rest else "")
    return f'<div class="headline"><h2>{capital(resource)}</h2>{text}</div>'


def _facts_of(trace: Trace, settings: ReplaySettings) -> str:
    span = trace.ticks * trace.step_seconds
    left_out = (
        f" ({trace.vms_without_capacity} without capacity left out)" if trace.vms_without_capacity else ""
    )
    known = (
        ("VMs", f"{len(trace.vms)}{left_out}"),
        ("Span", f"{duration(span)} from {moment(trace.start_seconds)} UTC"),
        ("Step", duration(trace.step_seconds)),
        ("Warm-up", f"{duration(settings.warmup_seconds)}, not measured"),
        ("SLA", f"{rate(settings.sla)} of samples may run short"),
        ("Decisions", f"every {duration(settings.decide_every_seconds)}"),
        ("In effect", "1 step later" if settings.lead_steps == 1 else f"{settings.lead_steps} steps later"),
        (
            "Demand",
            "censored: policies see no more than was granted"
            if settings.censored
            else "not censored: policies see all of it",
        ),
        ("Seed", str(settings.seed)),
    )
    return facts(known)


# --- One resource --------------------------------------------------------------------------------


def _resource(trace: Trace, row: int, results: Sequence[RunResult], settings: ReplaySettings) -> str:
    resource = trace.resources[row]
    frontier = frontier_of(row, results, settings.sla)
    static = "" if frontier.reserved_max is None else meaning.STATIC_OUTSIDE
    parts = [
        f'<section id="{resource.label}">\n<h2>{capital(resource)}</h2>',
        "<h3>What is reserved, and how often it runs short</h3>",
    ]
    if not frontier.lines:
        parts.append("<p>No policy has a figure to draw.</p>")
    else:
        parts += [
            f"<p>{meaning.VIOLATIONS_CHART}{static}</p>",
            chart(
                f"frontier-{resource.label}",
                frontier_figure(frontier),
                f"{capital(resource)}: reserved against violations",
                "frontier",
            ),
        ]
    return "\n".join([*parts, *_vms(trace, row, results, settings), "</section>"])


def _vms(trace: Trace, row: int, results: Sequence[RunResult], settings: ReplaySettings) -> list[str]:
    """Return the charts of the best, median and worst VM of the policy the report is about."""
    subject = next(
        (result for result in by_preference(asked(results, settings.sla)) if result.history is not None), None
    )
    kinds: dict[str, list[str]] = {}
    exemplars: dict[str, Exemplar] = {}
    if subject is not None and subject.history is not None:
        for exemplar in subject.history.exemplars:
            if exemplar.resource_row == row:
                kinds.setdefault(exemplar.vm, []).append(exemplar.kind)
                exemplars[exemplar.vm] = exemplar
    if subject is None or not exemplars:
        return ["<h3>VMs</h3>", "<p>No run kept the history that charts of single VMs need.</p>"]
    parts = [
        f"<h3>VMs under {escape(subject.run.policy)}: best, median and worst</h3>",
        f"<p>{meaning.VM_CHARTS}</p>",
    ]
    for vm, exemplar in exemplars.items():
        series = series_of(exemplar, trace, settings)
        kind = " and ".join(kinds[vm])
        name = f"vm-{trace.resources[row].label}-{kinds[vm][0]}"
        parts += [
            f"<h4>{kind.capitalize()}: {escape(vm)}</h4>",
            f'<p class="soft">{prose(_vm_words(exemplar, series))}</p>',
            chart(name, vm_figure(series), f"{kind.capitalize()} VM over time", "vm"),
        ]
    return parts


def _vm_words(exemplar: Exemplar, series: VmSeries) -> str:
    said = (
        f"Ran short in {percent(exemplar.violation_ratio)} of {series.samples:,} samples; "
        f"{percent(series.reserved_ratio)} of capacity reserved, {percent(series.used_ratio)} used."
    )
    if not series.capacity_in_view:
        most = f"{np.nanmax(series.capacity):,.4g} {series.unit}"
        said += f" Capacity, {'1 core' if most == '1 cores' else most} at most, is above the chart."
    if series.samples_per_pair > 1:
        said += (
            f" Of every {series.samples_per_pair} samples only the least and the greatest are drawn, "
            "and only the worst that ran short is marked."
        )
    return said


# --- Tables and words ----------------------------------------------------------------------------

COLUMNS = (
    "policy",
    "SLA",
    "reserved",
    "violations",
    "VMs within<br>SLA",
    "unmet",
    "slack",
    "changes a day,<br>median VM",
    "changes a day,<br>p99 VM",
    "gap closed",
)


def _measures(trace: Trace, results: Sequence[RunResult], settings: ReplaySettings) -> str:
    parts = [
        '<section id="measures">\n<h2>Measures</h2>',
        f"<p>{meaning.BOLD}</p>",
    ]
    for row, resource in enumerate(trace.resources):
        head = "".join(f'<th scope="col">{column}</th>' for column in COLUMNS)
        name = f"{capital(resource)}: measures of every policy"
        parts.append(
            f"<h3>{capital(resource)}</h3>\n"
            f'<div class="table" role="region" aria-label="{name}" tabindex="0"><table>'
            f"<thead><tr>{head}</tr></thead>"
            f"<tbody>{''.join(_rows(row, results, settings.sla))}</tbody></table></div>"
        )
    return "\n".join([*parts, "</section>"])


def _rows(row: int, results: Sequence[RunResult], sla: float) -> list[str]:
    """Return a line per run: policies in the order they were asked for, the loosest SLA first."""
    order = {policy: at for at, policy in enumerate(dict.fromkeys(result.run.policy for result in results))}
    rows = []
    for result in sorted(results, key=lambda result: (order[result.run.policy], -result.run.sla)):
        of = result.measures[row]
        cells = (
            rate(result.run.sla),
            percent(of.reserved_ratio),
            percent(of.violation_ratio),
            percent(of.vms_within_sla_ratio),
            percent(of.unmet_ratio),
            percent(of.slack_ratio),
            number(of.changes_per_vm_day_p50),
            number(of.changes_per_vm_day_p99),
            percent(gap_of(asked(results, sla), row, of)) if result.run.sla == sla else "",
        )
        name = escape(result.run.policy)
        style = ' class="asked"' if result.run.sla == sla else ""
        line = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f'<tr{style}><th scope="row">{name.replace("_", "_<wbr>")}</th>{line}</tr>\n')
    return rows


def _how(results: Sequence[RunResult], settings: ReplaySettings) -> str:
    ran = list(dict.fromkeys(result.run.policy for result in results))
    others = [(name, words) for name, words in meaning.POLICIES.items() if name not in ran]
    seen = meaning.CENSORED if settings.censored else meaning.NOT_CENSORED
    parts = [
        '<section id="how">\n<h2>How each number was made</h2>',
        f"<p>{meaning.METHOD} {seen}</p>",
        "<h3>Measures</h3>",
        explained(meaning.MEASURES),
        "<h3>Policies in this report</h3>",
        explained([(name, meaning.POLICIES.get(name, meaning.PLUG_IN)) for name in ran]),
    ]
    if others:
        parts.append(f"<details><summary>Policies that were not run</summary>{explained(others)}</details>")
    limits = "".join(f"<li>{escape(limit)}</li>" for limit in meaning.LIMITS)
    return "\n".join([*parts, "<h3>What this report can't show</h3>", f"<ul>{limits}</ul>", "</section>"])
