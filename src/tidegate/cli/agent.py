"""`tidegate agent`: tells the card of this server how its workloads are, and does as it is ordered."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from tidegate.agents.agent.program import AgentOptions, run_agent
from tidegate.agents.running import run
from tidegate.app.servers import LOCAL, libvirt_uri
from tidegate.app.state import state_folder
from tidegate.app.threads import one_blas_thread
from tidegate.cli import agent_options as options
from tidegate.cli.durations import parse_duration_seconds
from tidegate.cli.until_eof import UntilEof
from tidegate.drivers.local.server import VIOLATION_RATE
from tidegate.model.application import checked_name
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path
    from typing import Any

    from tidegate.drivers.simulated.build import World


def command(
    device: options.Device,
    name: options.Name = "",
    driver: options.Driver = LOCAL,
    state: options.State = None,
    certs: options.Certs = None,
    step: options.Step = "1s",
    workload: options.Workload = None,
    act: options.Act = None,
    probe: options.Probe = "",
    card_pci: options.CardPci = "",
    vral: options.Vral = None,
    sla: options.Sla = None,
    ticks: options.Ticks = None,
    listen: options.Listen = "",
    ledger: options.Ledger = None,
    baseline: options.Baseline = True,
    until_eof: UntilEof = False,
    simulated: options.Simulated = False,
    scenario: options.Scenario = None,
    trace: options.Trace = None,
    seed: options.Seed = None,
) -> None:
    """Join this server to its card: samples go there, orders come back; Ctrl-C gives limits back and ends.

    Without the device, the last limits stand for a minute; then this server's own safe baseline decides.
    """
    console = Console(stderr=True)

    def told(said: str) -> None:
        console.print(said, highlight=False)

    if simulated:
        if act or workload or probe or ticks or certs or state or ledger or name or vral:
            raise InputError("--simulated is of no server; leave out what says something of one")
        world = _world(scenario, trace or (), sla=sla, seed=seed)
        from tidegate.agents.agent.simulated import run_simulated

        _end(lambda: run_simulated(world, device=device, listen=listen, told=told), until_eof=until_eof)
    if scenario or trace or seed is not None:
        raise InputError("--scenario, --trace and --seed are of a simulated fleet; add --simulated")
    libvirt_uri(driver)  # a name nobody goes by is told before anything starts
    server = checked_name("a server", name or socket.gethostname())
    asked = AgentOptions(
        name=server,
        device=device,
        driver=driver,
        folder=state if state is not None else state_folder() / "agent" / server,
        step_seconds=parse_duration_seconds(step),
        chosen=tuple(workload or ()),
        act=tuple(act or ()),
        violation_rate=VIOLATION_RATE if sla is None else sla,
        certificates=certs,
        probe=probe,
        listen=listen,
        ledger=ledger,
        decides_alone=baseline,
        card_pci=card_pci,
        vral=vral,
    )
    told(f"agent of server '{server}', device at {device}; Ctrl-C ends")
    _end(lambda: run_agent(asked, told=told, ticks=ticks), until_eof=until_eof)


def _world(scenario: Path | None, traces: Sequence[Path], *, sla: float | None, seed: int | None) -> World:
    """Return the simulated fleet that was asked for; only then is a simulator imported."""
    from tidegate.cli.worlds import made_world
    from tidegate.drivers.simulated.build import read_scenario

    read = read_scenario(scenario)
    used = read.seed if seed is None else seed
    return made_world(read, traces, scenario=scenario, step_seconds=None, sla=sla, seed=used)


def _end(main: Callable[[], Coroutine[Any, Any, int]], *, until_eof: bool) -> None:
    """Run to the end.

    Raises:
        typer.Exit: with the program's code, always.

    """
    with one_blas_thread():
        code = run(main, until_eof=until_eof)
    raise typer.Exit(code)
