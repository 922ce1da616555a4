"""Writes the tables of README.md from the figures of replays, so that nobody copies a number by hand.

tidegate replay TRACE --policy vpa,autopilot_window,calibrated_reactive,tidegate,oracle --json a.json
tidegate replay TRACE --policy calibrated_reactive,tidegate --sla 0.001 --json b.json
python docs/write_figures.py a.json b.json
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

README: Final = Path(__file__).resolve().parents[1] / "README.md"
BLOCK: Final = re.compile(r"(<!-- table: bitbrains -->\n).*?(<!-- end table -->)", re.DOTALL)
ORDER: Final = ("vpa", "autopilot_window", "calibrated_reactive", "tidegate", "oracle")
OURS: Final = "tidegate"
RULE_TO_BEAT: Final = "calibrated_reactive"
HEADINGS: Final = ("policy", "SLA", "reserved", "violations", "VMs within SLA", "unmet", "changes a day, p99")
SAME: Final = ("trace", "vms", "ticks", "step_seconds", "warmup_seconds", "seed")
"""What all files must agree on for their figures to stand in one table."""
LABELS: Final = {"cpu": "CPU", "memory": "Memory", "gpu": "GPU", "network": "Network", "storage": "Storage"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One policy's figures of one resource at one SLA."""

    name: str
    resource: str
    sla: float
    reserved: float
    violations: float
    within_sla: float
    unmet: float
    changes_p99: float


class FiguresError(Exception):
    """Files that make no table; the message says what to do."""


def read_figures(paths: Sequence[Path]) -> list[Figures]:
    """Return the figures of all files.

    Raises:
        FiguresError: a file is not of `tidegate replay --json`, is of another replay, or says the same again.

    """
    found: list[Figures] = []
    about: dict[str, Any] = {}
    for path in paths:
        try:
            replay = json.loads(path.read_text("utf-8"))
            rows = [_figures(row) for row in replay["policies"]]
            mine = {key: replay[key] for key in SAME}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FiguresError(
                f"{path} is no file of tidegate replay --json ({error!r}); make it again"
            ) from error
        about = about or mine
        other = [key for key in SAME if mine[key] != about[key]]
        if other:
            raise FiguresError(f"{path} is another replay than {paths[0]}: its {', '.join(other)} differ")
        found += rows
    counted = Counter(f"{row.name} on {row.resource} at {row.sla:g}" for row in found)
    twice = [key for key, count in counted.items() if count > 1]
    if twice:
        raise FiguresError(f"there are two figures of {', '.join(twice)}; leave one file out")
    return found


def tables(figures: Sequence[Figures]) -> str:
    """Return one Markdown table per resource: rows by SLA, laxest first, then as in `ORDER`, which is all."""
    resources = list(dict.fromkeys(row.resource for row in figures))
    return "".join(
        _table(resource, [row for row in figures if row.resource == resource]) for resource in resources
    )


def rewritten(readme: str, figures: Sequence[Figures]) -> str:
    """Return the README with its table replaced.

    Raises:
        FiguresError: the README has no such block.

    """
    if not BLOCK.search(readme):
        raise FiguresError(
            "README.md has no <!-- table: bitbrains --> ... <!-- end table --> block; put it back"
        )
    return BLOCK.sub(lambda block: f"{block[1]}{tables(figures)}\n{block[2]}", readme)


def _table(resource: str, figures: Sequence[Figures]) -> str:
    by_name = {name: place for place, name in enumerate(ORDER)}
    rows = sorted(
        (row for row in figures if row.name in by_name), key=lambda row: (-row.sla, by_name[row.name])
    )
    beaten = {row.sla: row.reserved for row in rows if row.name == RULE_TO_BEAT}
    title = LABELS.get(resource, resource)
    head = f"\n**{title}**\n\n| {' | '.join(HEADINGS)} |\n|---|{'---:|' * (len(HEADINGS) - 1)}\n"
    return head + "".join(f"| {' | '.join(_cells(row, beaten.get(row.sla)))} |\n" for row in rows)


def _cells(row: Figures, to_beat: float | None) -> list[str]:
    reserved = f"{row.reserved:.1%}"
    if row.name == OURS and to_beat:
        reserved += f" ({row.reserved / to_beat - 1:+.1%})"
    cells = [
        f"`{row.name}`",
        f"{100 * row.sla:g}%",
        reserved,
        f"{row.violations:.2%}",
        f"{row.within_sla:.1%}",
        f"{row.unmet:.2%}",
        f"{row.changes_p99:.0f}",
    ]
    spaced = [cell.replace("%", " %") for cell in cells]
    return [f"**{cell}**" for cell in spaced] if row.name == OURS else spaced


def _figures(row: dict[str, Any]) -> Figures:
    return Figures(
        name=row["name"],
        resource=row["resource"],
        sla=float(row["sla"]),
        reserved=float(row["reserved_ratio"]),
        violations=float(row["violation_ratio"]),
        within_sla=float(row["vms_within_sla_ratio"]),
        unmet=float(row["unmet_ratio"]),
        changes_p99=float(row["changes_per_vm_day_p99"]),
    )


def main(arguments: Sequence[str]) -> int:
    """Rewrite the README's table; 0 done, 2 where the files make none."""
    if not arguments:
        sys.stderr.write("name the files of tidegate replay --json, as in write_figures.py a.json b.json\n")
        return 2
    try:
        text = rewritten(README.read_text("utf-8"), read_figures([Path(name) for name in arguments]))
    except FiguresError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    README.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
