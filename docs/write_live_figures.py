"""Writes the table of README.md that says what living costs, from the figures of a benchmark.

tidegate bench live --json live.json
python docs/write_live_figures.py live.json
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

README: Final = Path(__file__).resolve().parents[1] / "README.md"
BLOCK: Final = re.compile(r"(<!-- table: live -->\n).*?(<!-- end table -->)", re.DOTALL)
SHOWN: Final[Mapping[str, tuple[str, str]]] = {
    "throttled_time_saved_ratio": ("throttled time saved against `reactive`, bursts on a schedule", "{:.0%}"),
    "cores_held_tidegate": ("cores held meanwhile, mean: `tidegate`", "{:.2f}"),
    "cores_held_without_forecast": ("the same without a forecast", "{:.2f}"),
    "cores_held_reactive": ("the same by `reactive`", "{:.2f}"),
    "bursts_met_ratio": ("bursts whose quota was raised before they came, after three seen", "{:.0%}"),
    "killed_points_consistent": ("restarts after `kill -9` that found everything in order", "{:.0f} of 100"),
    "journal_share_of_tick": ("journal's share of a tick, 100 000 VMs x 3 resources", "{:.1%}"),
    "journal_bytes_per_row": ("bytes per changed row", "{:.0f}"),
    "journal_bytes_per_day": ("journal of a day of 10 000 VMs at 10 s, GB", "{:.2f}"),
    "shadow_share_of_tick": ("league's share of a tick, 100 000 VMs", "{:.1%}"),
    "explain_seconds_p99": ("`explain` on that day, p99, ms", "{:.0f}"),
}
"""What the table holds, in order: words and format by the benchmark's name of the figure."""
FACTORS: Final = {"journal_bytes_per_day": 1e-9, "explain_seconds_p99": 1e3}


class FiguresError(Exception):
    """A file that makes no table; the message says what to do."""


def table(benchmark: Mapping[str, Any]) -> str:
    """Return the Markdown table of a benchmark's figures, limits beside them.

    Raises:
        FiguresError: a figure is missing.

    """
    rows = {row["name"]: row for row in benchmark["rows"]}
    missing = [name for name in SHOWN if name not in rows]
    if missing:
        raise FiguresError(f"the benchmark lacks {', '.join(missing)}; run it as root on Linux with cgroups")
    lines = ["\n| | measured | limit |\n|---|---:|---:|\n"]
    for name, (words, form) in SHOWN.items():
        row, factor = rows[name], FACTORS.get(name, 1)
        measured = form.format(row["value"] * factor)
        sign = "at most" if row["direction"] == "max" else "at least"
        limit = "" if row["limit"] is None else f"{sign} {form.format(row['limit'] * factor)}"
        lines.append(f"| {words} | {measured} | {limit} |\n".replace("%", " %"))
    return "".join(lines)


def rewritten(readme: str, benchmark: Mapping[str, Any]) -> str:
    """Return the README with its table replaced.

    Raises:
        FiguresError: the README has no such block, or a figure is missing.

    """
    if not BLOCK.search(readme):
        raise FiguresError("README.md has no <!-- table: live --> block; put it back")
    made = table(benchmark)
    return BLOCK.sub(lambda block: f"{block[1]}{made}\n{block[2]}", readme)


def main(arguments: Sequence[str]) -> int:
    """Rewrite the README's table; 0 done, 2 where the file makes none."""
    try:
        (name,) = arguments
        text = rewritten(README.read_text("utf-8"), json.loads(Path(name).read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, FiguresError) as error:
        sys.stderr.write(f"name one file of tidegate bench live --json: {error}\n")
        return 2
    README.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
