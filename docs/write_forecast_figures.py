"""Writes the table of docs/reference/forecasting.md that says how right forecasts are, from a benchmark.

tidegate bench forecast --json forecast.json
python docs/write_forecast_figures.py forecast.json
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PAGE: Final = Path(__file__).resolve().parent / "reference" / "forecasting.md"
BLOCK: Final = re.compile(r"(<!-- table: forecast -->\n).*?(<!-- end table -->)", re.DOTALL)
SHOWN: Final[Mapping[str, tuple[str, str]]] = {
    "engine_wql_over_best_member": ("WQL of `engine` over that of the best member", "{:.3f}"),
    "mase_median_over_best_member": ("median MASE, the same", "{:.3f}"),
    "engine_wql_over_fracast": ("WQL of `engine` over that of `fracast`", "{:.3f}"),
    "coverage_error_p90": ("coverage of the 90 % quantile, off by at most", "{:.2%}"),
    "coverage_error_p95": ("the same of 95 %", "{:.2%}"),
    "coverage_error_p99": ("the same of 99 %", "{:.2%}"),
    "reserved_saved_sla_1pct": ("reserved less than `calibrated_reactive`, SLA 1 %", "{:.1%}"),
    "reserved_saved_sla_01pct": ("the same, SLA 0.1 %", "{:.1%}"),
    "unmet_over_rule": ("unmet demand over that of `calibrated_reactive`", "{:.2f}"),
    "changes_per_vm_day_p99": ("changes per VM and day, p99", "{:.0f}"),
    "useless_feeds_off_ratio": ("injected feeds that tell nothing, left off", "{:.1%}"),
    "real_feeds_found_ratio": ("injected feeds that tell something, found", "{:.1%}"),
    "lstm_series_per_second": ("series a second on one core, LSTM carried", "{:,.0f}"),
    "lstm_series_per_second_cold": ("the same, read cold", "{:,.0f}"),
    "tick_seconds_1m": ("a tick of a million workloads, s", "{:.1f}"),
}
"""What the table holds, in order: words and format by the benchmark's name of the figure."""
OPTIONAL: Final = frozenset({"engine_wql_over_fracast"})
"""Left out where what they need is not installed; the notes say so."""
WITH_EACH: Final = ("engine_wql_over_best_member", "engine_wql_over_fracast")
"""Of these, every resource and horizon has a line below."""
LABELS: Final = {"cpu": "CPU", "memory": "memory"}
BEST: Final = re.compile(r"best member at (\S+): (\S+)")


class FiguresError(Exception):
    """A file that makes no table; the message says what to do."""


def table(benchmark: Mapping[str, Any]) -> str:
    """Return the Markdown table of a benchmark's figures, limits beside them, and what it was made on.

    Raises:
        FiguresError: a figure is missing.

    """
    rows = {row["name"]: row for row in benchmark["rows"]}
    missing = [name for name in SHOWN if name not in rows and name not in OPTIONAL]
    if missing:
        raise FiguresError(f"the benchmark lacks {', '.join(missing)}; run it whole, without --only")
    lines = ["\n| | measured | 95 % of draws | limit |\n|---|---:|---:|---:|\n"]
    best = dict(found.groups() for note in benchmark["notes"] if (found := BEST.fullmatch(note)))
    for name, (words, form) in SHOWN.items():
        if name not in rows:
            continue
        row = rows[name]
        measured = form.format(row["value"])
        sign = "at most" if row["direction"] == "max" else "at least"
        limit = "" if row["limit"] is None else f"{sign} {form.format(row['limit'])}"
        lines.append(f"| {words} | {measured} |  | {limit} |\n".replace("%", " %").replace("  %", " %"))
        if name in WITH_EACH:
            lines += _each(name, rows, best)
    return "".join([*lines, "\n", " ".join(f"{note}." for note in _notes(benchmark)), "\n"])


def _each(name: str, rows: Mapping[str, Mapping[str, Any]], best: Mapping[str, str]) -> Iterator[str]:
    """Return a line for each resource and horizon, with its interval and who was best."""
    for full, row in rows.items():
        of, _, where = full.partition(".")
        if of != name or not where:
            continue
        resource, _, horizon = where.partition(".")
        words = f"{LABELS.get(resource, resource)}, {horizon} ahead"
        if name == WITH_EACH[0] and where in best:
            words += f"; best was `{best[where]}`"
        ends = [rows.get(f"{name}_{end}.{where}") for end in ("low", "high")]
        interval = "" if None in ends else "-".join(f"{end['value']:.3f}" for end in ends if end)
        yield f"| - {words} | {row['value']:.3f} | {interval} |  |\n"


def _notes(benchmark: Mapping[str, Any]) -> Iterator[str]:
    """Return on what machine and data the figures were made, with which seed, and what was left out."""
    about = benchmark["machine"]
    yield (
        f"{about['cores']} cores ({about['processor']}), Python {about['python']}, seed {benchmark['seed']}; "
        f"{about['data']}: {about['data_vms']} VMs, {about['data_days']} days "
        f"at {about['data_step_seconds']} s"
    )
    yield from (note[0].upper() + note[1:] for note in benchmark["notes"] if not BEST.fullmatch(note))


def rewritten(page: str, benchmark: Mapping[str, Any]) -> str:
    """Return the page with its table replaced.

    Raises:
        FiguresError: the page has no such block, or a figure is missing.

    """
    if not BLOCK.search(page):
        raise FiguresError("forecasting.md has no <!-- table: forecast --> block; put it back")
    made = table(benchmark)
    return BLOCK.sub(lambda block: f"{block[1]}{made}\n{block[2]}", page)


def main(arguments: Sequence[str]) -> int:
    """Rewrite the page's table; 0 done, 2 where the file makes none."""
    try:
        (name,) = arguments
        text = rewritten(PAGE.read_text("utf-8"), json.loads(Path(name).read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, FiguresError) as error:
        sys.stderr.write(f"name one file of tidegate bench forecast --json: {error}\n")
        return 2
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
