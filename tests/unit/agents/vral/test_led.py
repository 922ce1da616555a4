"""With a device that leads: a lease goes there as a floor, and comes back as an order."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from tidegate.agents.agent.agent import Agent
from tidegate.agents.servers.foretelling import Foretelling
from tidegate.agents.servers.loop import baseline_loop
from tidegate.agents.vral.channels import SOCKET_FILE, guest_folder
from tidegate.agents.vral.serving import opened
from tidegate.app.wiring import LOCAL_LIMITS
from tidegate.guest.tidegate_vral import Vral
from tidegate.model.resources import Resource

MACHINE = {Resource.CPU: 8.0, Resource.MEMORY: 8.0}


@pytest.fixture
def led(card, monkeypatch):
    """A card that leads server `one` of two VMs, which serves VRAL."""
    with tempfile.TemporaryDirectory(prefix="tv-") as name:
        folder, served = Path(name), {}

        def agent(name, server):
            opening = opened(
                server,
                folder,
                boot="boot",
                machine=MACHINE,
                forwards_seconds=lambda: card.time.seconds,
            )
            served["vral"], served["opening"] = opening.__enter__(), opening
            return Agent(
                name=name,
                server=served["vral"].server,
                loop_over=lambda watched: baseline_loop(watched, step_seconds=1, limits=LOCAL_LIMITS),
                folder=folder / "agent",
                step_seconds=1,
                incarnation="1",
                now_nanoseconds=card.time.nanoseconds,
                thought=served["vral"].look,
            )

        monkeypatch.setattr(card, "agent", agent)
        server = card.add("one", 2)
        server.grant = np.full((2, 2), 2.0, dtype=np.float32)
        card.turn(2)
        yield card, server, served["vral"], folder
        served["opening"].__exit__(None, None, None)


def guest(folder, name):
    path = guest_folder(folder, name) / SOCKET_FILE
    while not path.exists():
        pass
    return Vral(str(path))


def test_a_lease_is_ordered_by_the_device_applied_and_read_back(led):
    card, server, vral, folder = led
    with guest(folder, "vm-0") as host:
        assert host.claim("cpu", 3.5)["health"] == "applying"
        card.turn(3)
        assert host.list()[0]["health"] == "healthy"
    assert server.grant[0, 0] == 3.5
    assert server.grant[0, 1] < 3.5
    assert vral.desk.leases[0].parts[0].supply == "host"


def test_a_claim_is_held_against_what_the_device_expects(led):
    card, server, _, folder = led
    foretelling = Foretelling(servers=card.servers)
    server.demand = np.full((2, 2), 3.0, dtype=np.float32)
    server.grant = np.full((2, 2), 4.0, dtype=np.float32)
    for _ in range(3):
        foretelling.seen(card.turn())
    news = foretelling.take("one")
    agent = card.wires["one"].agent
    news.demand[0, 0] = 3.25
    agent.foretold(news)
    agent.think()
    with guest(folder, "vm-0") as host:
        assert host.claim("cpu", 1.0, burst=4.0)["amount"] == 3.25
