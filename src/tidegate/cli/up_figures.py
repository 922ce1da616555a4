"""What `tidegate up` leaves behind: its figures for machines, and a picture of its last view."""

from __future__ import annotations

import math
import re
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console

from tidegate.app.day_ahead_shown import day_figures

if TYPE_CHECKING:
    from tidegate.app.machine import Machine
    from tidegate.app.side_by_side import SideBySide
    from tidegate.cli.watched import WatchedFleet

SVG_SIZE = (124, 36)
"""Columns and rows of a saved view of the simulated fleet."""


def figures(run: SideBySide, *, seed: int, sla: float | None, seconds: float) -> dict[str, object]:
    """Return the figures of both loops in the form that machines read; ``sla`` null: as the classes say."""
    places = run.world.fleet.places
    rows = [
        {
            "name": name,
            "resource": resource.label,
            "samples": int(totals.samples[row]),
            "violation_ratio": float(totals.short_ratio[row]),
            "reserved_ratio": float(totals.reserved_ratio[row]),
            "prediction": prediction,
        }
        for name, totals, prediction in (
            (run.policy_name, run.totals, True),
            (run.shadow_name, run.shadow_totals, False),
        )
        for row, resource in enumerate(run.world.trace.resources)
    ]
    return {
        "trace": run.world.trace.name,
        "vms": len(run.world.trace.vms),
        "servers": int((~places.is_card).sum()),
        "cards": int(places.is_card.sum()),
        "ticks": run.ticks,
        "step_seconds": run.world.trace.step_seconds,
        "seed": seed,
        "sla": sla,
        "seconds": round(seconds, 3),
        "policies": rows,
        "day_ahead": []
        if run.last is None
        else day_figures(run.last.forecast.day, run.world.trace.resources),
    }


def machine_figures(machine: Machine) -> dict[str, object]:
    """Return this machine's figures in the form that machines read: since this start, league of today."""
    resources = machine.server.resources
    behaviour = machine.server.behaviour
    return {
        "policy": machine.options.policy,
        "ticks": machine.ticks,
        "step_seconds": machine.options.step_seconds,
        "workloads": 0 if machine.last is None else len(machine.last.snapshot.roster),
        "throttled_seconds": {}
        if behaviour is None
        else {
            name: float(seconds)
            for name, seconds in zip(behaviour.roster.names, behaviour.throttled_seconds_total, strict=True)
            if math.isfinite(seconds)
        },
        "policies": [
            {"name": standing.policy, "resource": resource.label}
            | {
                "samples": standing.samples,
                "violation_ratio": standing.violation_ratio,
                "reserved_ratio": standing.reserved_ratio,
                "regret_ratio": standing.regret_ratio,
            }
            for row, resource in enumerate(resources)
            for standing in (machine.company.league.standings(row) if machine.last else ())
        ],
        "day_ahead": [] if machine.last is None else day_figures(machine.last.forecast.day, resources),
    }


def picture(fleet: WatchedFleet) -> str:
    """Return the last view of the simulated fleet as SVG."""
    columns, rows = SVG_SIZE
    console = Console(
        record=True,
        width=columns,
        height=rows,
        file=StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    console.print(fleet.drawn(SVG_SIZE))
    # A picture fetches nothing: the font is whatever monospace the reader has.
    return re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="tidegate up"), flags=re.DOTALL)


__all__ = ["figures", "machine_figures", "picture"]
