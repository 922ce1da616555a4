"""Measures claims from inside a real guest, through its port, with the program for tiny guests."""

from __future__ import annotations

import msgspec

from tidegate.agents.agent.agent import Agent
from tidegate.agents.servers.loop import baseline_loop
from tidegate.agents.vral.serving import opened
from tidegate.app.servers import doors_of
from tidegate.drivers.libvirt.server import LibvirtServer
from tidegate.drivers.local.clock import SystemClock
from tidegate.lab.bench.guests.image import VRAL_PROGRAM
from tidegate.lab.bench.guests.running import Guest, Host, lent
from tidegate.lab.bench.result import Row, row
from tidegate.model.errors import TidegateError
from tidegate.model.resources import Resource

P50_MILLISECONDS_LIMIT = 5.0
P99_MILLISECONDS_LIMIT = 50.0
CLAIMS = 300
STEPS_MAX = 60
"""Steps until a claim must have been answered from inside, and until it must be in force."""


def guest_rows() -> list[Row]:
    """Return how long claims took as the guest saw it, and until one that was short was in force.

    Raises:
        InputError: real VMs can't be had here.
        TidegateError: the guest was not served.

    """
    with lent() as host:
        (guest,) = host.boot(host.spec("claims", vcpus=2))
        clock = SystemClock()
        with (
            LibvirtServer(
                host.uri, step_seconds=1, clock=clock, act=["*"], ledger_path=host.folder / "ledger.json"
            ) as driver,
            opened(
                driver,
                host.folder / "vral",
                boot="bench",
                machine={Resource.CPU: 64.0},
                forwards_seconds=clock.forwards_seconds,
                doors=lambda: doors_of(driver),
            ) as vral,
        ):
            agent = Agent(
                name="bench",
                server=vral.server,
                loop_over=lambda watched: baseline_loop(watched, step_seconds=1),
                folder=host.folder / "agent",
                step_seconds=1,
                incarnation="bench",
                now_nanoseconds=clock.now_nanoseconds,
                thought=vral.look,
            )
            return _rows(host, guest, agent)


def _rows(host: Host, guest: Guest, agent: Agent) -> list[Row]:
    for _ in range(STEPS_MAX):
        agent.step()
        if _said(guest, "list").startswith("{"):
            break
    took = msgspec.json.decode(_said(guest, f"time {CLAIMS} cpu 0.1"), type=dict[str, float])
    return [
        row("vral_guest_claim_ms_p50", took["p50_ms"], "ms", P50_MILLISECONDS_LIMIT),
        row("vral_guest_claim_ms_p99", took["p99_ms"], "ms", P99_MILLISECONDS_LIMIT),
        row("vral_guest_claim_ms_max", took["max_ms"], "ms"),
    ]


def _said(guest: Guest, words: str) -> str:
    """Return what the program inside says.

    Raises:
        TidegateError: it did not do it.

    """
    answer = guest.ask(f"run {VRAL_PROGRAM} - {words} 2>&1", seconds=60.0)
    said = answer.get("said", "")
    if answer.get("exit") != "0" and not words.startswith("list"):
        raise TidegateError(f"the guest could not claim: {said}")
    return said
