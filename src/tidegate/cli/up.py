"""`tidegate up`: everything on this machine, against a simulated fleet, to watch.

A policy and the safe baseline run side by side over the same world; the terminal shows both.
"""

from __future__ import annotations

import math
import re
import signal
import sys
import time
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from tidegate.app.side_by_side import SideBySide
from tidegate.app.threads import one_blas_thread
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.live_view import Header, line, screen, summary
from tidegate.cli.numbers import checked_seed
from tidegate.cli.worlds import made_world
from tidegate.drivers.simulated.build import read_scenario
from tidegate.model.errors import InputError
from tidegate.score.card_pressure import CardPressure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

    from tidegate.app.metrics import StageMetrics
    from tidegate.model.tick import Tick

FRAMES_PER_SECOND_MAX = 10
NAP_SECONDS_MAX = 0.1
"""Longest wait without looking whether to end."""
LINE_EVERY_TICKS = 12
"""How often a plain line is written where there is no terminal: an hour of 5-minute steps."""
STAGES_OVER_TICKS = 20
"""Stage times shown are means over so many ticks."""
SVG_SIZE = (124, 36)
"""Columns and rows of a saved view."""


def command(
    trace: Annotated[
        list[Path] | None, typer.Option(help="Your own trace; the installed series by default. Repeatable.")
    ] = None,
    scenario: Annotated[Path | None, typer.Option(help="Scenario TOML; one comes with Tidegate.")] = None,
    policy: Annotated[str, typer.Option(help="Policy to watch.")] = "tidegate",
    sla: Annotated[
        float | None, typer.Option(help="Share of samples that may run short, for every class of workloads.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed instead of the scenario's.", min=0, callback=checked_seed)
    ] = None,
    speed: Annotated[float, typer.Option(help="Ticks per second; 0: as fast as it goes.", min=0)] = 10.0,
    ticks: Annotated[int | None, typer.Option(help="End after so many ticks.", min=1)] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write the figures here at the end, for machines.")
    ] = None,
    metrics: Annotated[
        int | None, typer.Option(help="Serve Prometheus metrics on this port of 127.0.0.1.", min=0, max=65535)
    ] = None,
    svg: Annotated[Path | None, typer.Option(hidden=True, help="Save the last view here.")] = None,
) -> None:
    """Watch Tidegate run a simulated fleet, with prediction and without; Ctrl-C ends."""
    console = Console()
    check_writable(json, svg)
    if math.isnan(speed):
        raise InputError("--speed nan is no number of ticks per second; give one of 0 or more")
    wanted = read_scenario(scenario)
    used_seed = wanted.seed if seed is None else seed
    world = made_world(wanted, trace or (), scenario=scenario, step_seconds=None, sla=sla, seed=used_seed)
    run = SideBySide(world, policy_name=policy, seed=used_seed, scorer=CardPressure())
    header = Header(
        scenario="default scenario" if scenario is None else scenario.stem,
        policy=policy,
        sla=_sla_text(world.fleet.roster.violation_rate.tolist()),
        speed=f"{speed:g} ticks/s" if speed else "full speed",
    )
    with ExitStack() as stack:
        stack.enter_context(one_blas_thread())
        stop = stack.enter_context(_stopped_by_signals())
        served = None if metrics is None else _served(metrics, stack)
        watch = stack.enter_context(_watch(console, run, header))
        pace = _Pace(0.0 if speed == 0 else 1 / speed)
        started = time.monotonic()
        _turn(run, watch, pace, stop, min(world.trace.ticks, ticks or world.trace.ticks), served)
        seconds = time.monotonic() - started
    why = f"Stopped by {stop.name}" if stop.name else "Done"
    console.print(summary(run, why=why, seconds=seconds))
    if json is not None:
        content = figures(run, seed=used_seed, sla=sla, seconds=seconds)
        write_atomically(json, msgspec.json.format(msgspec.json.encode(content)))
    if svg is not None and run.last is not None:
        write_atomically(svg, _svg(run, run.last, header, watch.stages()).encode())


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
        "ticks": 0 if run.last is None else run.last.number + 1,
        "step_seconds": run.world.trace.step_seconds,
        "seed": seed,
        "sla": sla,
        "seconds": round(seconds, 3),
        "policies": rows,
    }


@dataclass(slots=True)
class _Stop:
    """Whether to end, and on whose word."""

    name: str | None = None

    def note(self, number: int, _frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name


@contextmanager
def _stopped_by_signals() -> Iterator[_Stop]:
    """Let SIGINT and SIGTERM end the run after the tick under way, until the context is left."""
    stop = _Stop()
    before = {number: signal.signal(number, stop.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Pace:
    """Waits so that ticks come at most so often; a late tick is not caught up."""

    def __init__(self, seconds_per_tick: float) -> None:
        self._seconds = seconds_per_tick
        self._due = time.monotonic()

    def wait(self, stop: _Stop) -> None:
        """Return when the next tick is due, or within `NAP_SECONDS_MAX` of being stopped."""
        now = time.monotonic()
        self._due = max(self._due + self._seconds, now)
        while stop.name is None and now < self._due:
            time.sleep(min(self._due - now, NAP_SECONDS_MAX))
            now = time.monotonic()


@dataclass(slots=True)
class _Watch:
    """Shows ticks: on a live screen, or as a plain line now and then."""

    console: Console
    run: SideBySide
    header: Header
    live: Live | None
    _shown_seconds: float = 0.0
    _recent: deque[Mapping[str, float]] = field(default_factory=lambda: deque(maxlen=STAGES_OVER_TICKS))

    def show(self, tick: Tick, *, last: bool) -> None:
        """Show a tick, unless the one before was shown too short a time ago."""
        self._recent.append(tick.stage_seconds)
        if self.live is None:
            if last or tick.number % LINE_EVERY_TICKS == 0:
                self.console.print(line(self.run, tick), soft_wrap=True, highlight=False, markup=False)
            return
        now = time.monotonic()
        if not last and now - self._shown_seconds < 1 / FRAMES_PER_SECOND_MAX:
            return
        self._shown_seconds = now
        view = screen(self.run, tick, self.header, self.stages(), self.console.size)
        self.live.update(view, refresh=True)

    def stages(self) -> dict[str, float]:
        """Return the mean seconds of each stage over the last ticks."""
        names = dict.fromkeys(name for stages in self._recent for name in stages)
        return {name: sum(of.get(name, 0.0) for of in self._recent) / len(self._recent) for name in names}


@contextmanager
def _watch(console: Console, run: SideBySide, header: Header) -> Iterator[_Watch]:
    if not console.is_terminal:
        yield _Watch(console, run, header, None)
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield _Watch(console, run, header, live)


def _turn(
    run: SideBySide, watch: _Watch, pace: _Pace, stop: _Stop, ticks: int, metrics: StageMetrics | None
) -> None:
    """Turn the loops until they have made ``ticks`` or somebody ends them."""
    for number in range(ticks):
        if stop.name is not None:
            return
        tick = run.tick()
        if metrics is not None:
            metrics.add(tick.stage_seconds)
        last = number == ticks - 1
        watch.show(tick, last=last)
        if not last:
            pace.wait(stop)


def _served(port: int, stack: ExitStack) -> StageMetrics:
    from tidegate.app.metrics import StageMetrics

    served = StageMetrics(port)
    stack.callback(served.close)
    sys.stderr.write(f"metrics on http://127.0.0.1:{served.port}/metrics\n")
    return served


def _sla_text(rates: list[float]) -> str:
    low, high = (f"{100 * rate:.3g}" for rate in (min(rates), max(rates)))
    return f"{low} %" if low == high else f"{low} to {high} %"


def _svg(run: SideBySide, tick: Tick, header: Header, stages: Mapping[str, float]) -> str:
    columns, rows = SVG_SIZE
    console = Console(
        record=True,
        width=columns,
        height=rows,
        file=StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    console.print(screen(run, tick, header, stages, SVG_SIZE))
    # A picture fetches nothing: the font is whatever monospace the reader has.
    return re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="tidegate up"), flags=re.DOTALL)


__all__ = ["command", "figures"]
