"""A card's cores as a supply of leases: asked and raised over a real socket, and lost with the card."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tidegate.agents.vral.card import LOST_SECONDS, RENEW_SECONDS, CardSlots
from tidegate.agents.vral.desk import Desk
from tidegate.agents.vral.journal import Journal
from tidegate.agents.vral.markets import market_of
from tidegate.agents.vral.suppliers import HostSupplier
from tidegate.model.forecast import no_forecast
from tidegate.model.resources import Resource
from tidegate.testing import roster_of, snapshot_of
from tidegate.vral.supplies import CARD, HOST
from tidegate.wire.card.v1 import application_pb2

CLAIM = b'{"v":1,"id":"%d","do":"claim","kind":"cpu","wanted":%g,"min":%g,"may_be_slower":true}'


class Time:
    """A clock that a test moves."""

    seconds = 1000.0

    def now_seconds(self):
        return 1_700_000_000

    def forwards_seconds(self):
        return self.seconds


class Settable:
    settable = np.ones((1, 2), dtype=np.bool_)


class Host:
    """VMs `web` and `db` that were sold four cores, hold one, and claim; `web` has an application."""

    def __init__(self, folder, line):
        self.clock, self.line = Time(), line
        self.slots = CardSlots("unix:unused", server="one", clock=self.clock)
        self.host = HostSupplier(machine={Resource.CPU: 4.0}, settable=Settable())
        self.suppliers = {CARD: self.slots, HOST: self.host}
        self.journal = Journal(folder, boot="boot")
        self.told = []
        self.desk = Desk(
            self.journal,
            suppliers=self.suppliers,
            forwards_seconds=self.clock.forwards_seconds,
            told=self.told.extend,
        )
        self.held = np.array([[1.0, 1.0]])
        self.roster = roster_of(2, resources=1, names=["web", "db"])

    async def turn(self, seconds=1.0, *, heard=True):
        self.clock.seconds += seconds
        if heard:
            await self.slots.turn(self.line)
        snapshot = snapshot_of(
            self.held, held=self.held, roster=self.roster, resources=[Resource.CPU], capacity=4.0
        )
        forecast = no_forecast(0, 60, 1, 2)
        self.desk.look(market_of(snapshot, forecast, tuple(self.suppliers.values())))

    def claim(self, number, wanted, least, vm="web"):
        return self.desk.answer(vm, CLAIM % (number, wanted, least))[0]

    @property
    def served(self):
        return [{part.supply: part.amount for part in lease.parts} for lease in self.desk.leases]


@pytest.fixture
def with_card(tmp_path, asked):
    """Runs a test's coroutine with a card that runs `web`'s application, and a host that asks it."""

    def run(test):
        async def whole():
            async with asked(tmp_path) as (api, runtime):
                spec = application_pb2.ApplicationSpec(server="one")
                await api.create(application=application_pb2.Application(spec=spec))
                host = Host(tmp_path / "vral", api.line)
                try:
                    await host.turn()
                    await test(host, runtime)
                finally:
                    host.journal.close()

        asyncio.run(asyncio.wait_for(whole(), 30))

    return run


def test_the_shortfall_comes_from_the_card_and_is_healthy_once_the_card_says_so(with_card):
    async def test(host, runtime):
        # One core is held by the host and one by the application: a third one is missing.
        assert b'"health":"applying"' in host.claim(1, 3.0, 1.0)
        assert host.served == [{CARD: 2.0, HOST: 1.0}]
        await host.turn()
        assert runtime.program("web").held.cpu_cores == 2.0
        await host.turn()
        assert [notice.why.value for notice in host.told] == ["healthy"]

    with_card(test)


def test_what_the_card_has_not_comes_from_the_host_and_what_neither_has_is_failure(with_card):
    async def test(host, runtime):
        host.claim(1, 5.0, 1.0)
        # The application's ceiling is three cores.
        assert host.served == [{CARD: 3.0, HOST: 2.0}]
        answer = host.claim(2, 9.0, 9.0)
        assert b'"code":"short"' in answer
        assert b'"missing":8.0,"found":1.0' in answer
        assert host.served == [{CARD: 3.0, HOST: 2.0}]

    with_card(test)


def test_a_vm_without_an_application_there_is_served_by_the_host(with_card):
    async def test(host, runtime):
        host.claim(1, 2.0, 1.0, vm="db")
        assert host.served == [{HOST: 2.0}]

    with_card(test)


def test_a_card_that_is_lost_is_replaced_by_the_host_and_nothing_is_told(with_card):
    async def test(host, runtime):
        host.claim(1, 2.0, 2.0)
        await host.turn(2.0)
        await host.turn(2.0)
        host.told.clear()
        await host.turn(LOST_SECONDS + 1, heard=False)
        assert host.served == [{HOST: 2.0}]
        assert host.told == []

    with_card(test)


def test_what_is_leased_is_raised_again_before_its_time_is_over_and_not_each_second(with_card):
    async def test(host, runtime):
        host.claim(1, 3.0, 2.0)
        await host.turn()
        first = host.slots._renewed["web"]
        await host.turn()
        assert host.slots._renewed["web"] == first
        await host.turn(RENEW_SECONDS)
        assert host.slots._renewed["web"][1] > first[1]
        host.desk.answer("web", b'{"v":1,"id":"r","do":"release","lease":"lease-1"}')
        await host.turn()
        assert host.slots._renewed == {}

    with_card(test)
