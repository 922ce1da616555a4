"""A prober and a responder on this machine, with a line between them that loses and delays."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.drivers.probes.budget import Budget, Spending
from tidegate.drivers.probes.packets import ANSWER, PROBE_BYTES, QUESTION, Packet, Token
from tidegate.drivers.probes.prober import TRAIN_BYTES, Prober
from tidegate.drivers.probes.responder import Responder
from tidegate.model.errors import InputError, TidegateError
from tidegate.telemetry.capacity import train_bytes_per_second

SECRET = b"0123456789abcdef"
PATIENCE_SECONDS = 0.3
"""Here: a probe is back in a few milliseconds."""
HEADERS = 28
FAST = {"budget": Budget(packets_per_second=200, bytes_per_second=200_000), "probes_per_second": 100.0}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr("tidegate.drivers.probes.prober.PATIENCE_SECONDS", PATIENCE_SECONDS)


class Line(asyncio.DatagramProtocol):
    """Passes packets on to a responder and its answers back, as it is told."""

    def __init__(self, target, *, delay_seconds=0.0, loses=lambda _: False, seconds_per_packet=0.0):
        self.target, self.delay, self.loses, self.pause = target, delay_seconds, loses, seconds_per_packet
        self.seen = []
        self.asker = None
        self.free_at = 0.0

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        loop = asyncio.get_running_loop()
        if address == self.target:
            loop.call_later(self.delay, self.transport.sendto, data, self.asker)
            return
        self.asker = address
        self.seen.append((loop.time(), len(data) + HEADERS))
        if not self.loses(len(self.seen)):
            self.free_at = max(self.free_at, loop.time()) + self.pause
            loop.call_at(self.free_at + self.delay, self.transport.sendto, data, self.target)


@asynccontextmanager
async def line(target, **shape):
    host, _, port = target.rpartition(":")
    transport, made = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Line((host, int(port)), **shape), local_addr=("127.0.0.1", 0)
    )
    try:
        made.address = "127.0.0.1:{}".format(transport.get_extra_info("sockname")[1])
        yield made
    finally:
        transport.close()


async def probing(seconds, *, shape=None, secret=SECRET, **options):
    async with (
        Responder("127.0.0.1:0", secret=SECRET) as responder,
        line(responder.address, **(shape or {})) as between,
        Prober(between.address, secret=secret, seed=3, **options) as prober,
    ):
        await asyncio.sleep(seconds)
        probes, trains = prober.take()
        return probes, trains, between, responder


def probed(seconds, **options):
    """Probe over a line for some seconds."""
    return asyncio.run(probing(seconds, **options))


def test_delay_is_measured():
    probes, _, _, responder = probed(1.0, shape={"delay_seconds": 0.010}, **FAST)
    assert probes.sent_seconds.size > 40
    assert np.nanmedian(probes.round_trip_seconds) == pytest.approx(0.020, abs=0.006)
    assert (np.diff(np.sort(probes.sent_seconds)) > 0.002).all()
    assert responder.ignored == 0


def test_loss_is_measured():
    probes, _, between, _ = probed(
        1.5 + PATIENCE_SECONDS, shape={"loses": lambda number: number % 4 == 0}, **FAST
    )
    old = probes.sent_seconds < probes.sent_seconds.max() - PATIENCE_SECONDS
    assert old.sum() > 80
    assert np.isnan(probes.round_trip_seconds[old]).mean() == pytest.approx(0.25, abs=0.03)
    assert between.asker is not None


def test_a_responder_that_takes_its_time_does_not_make_the_link_longer():
    """A fifth of a second in which nobody answers is told by the answer itself."""

    async def run():
        async with (
            Responder("127.0.0.1:0") as responder,
            Prober(responder.address, seed=3, **FAST, train_every_seconds=float("inf")) as prober,
        ):
            await asyncio.sleep(0.1)
            for _ in range(3):
                prober._send_probe()
                time.sleep(0.2)  # noqa: ASYNC251 - both ends are kept waiting for a core
                await asyncio.sleep(0.05)
            return prober.take()[0]

    back = asyncio.run(run()).round_trip_seconds
    assert np.nanmax(back) < 0.1


def test_capacity_is_measured_from_a_train():
    """Packets pass one by one: 1228 bytes in 5 ms are 246 kB/s."""
    shape = {"seconds_per_packet": 0.005}
    _, trains, _, _ = probed(2.8, shape=shape, train_every_seconds=1.0, probes_per_second=10.0)
    rates = [train_bytes_per_second(train) for train in trains]
    assert rates
    assert np.median(rates) == pytest.approx((TRAIN_BYTES + HEADERS) / 0.005, rel=0.15)


def test_the_budget_is_never_exceeded():
    """In no second of the run, wherever it begins."""
    trials = (
        (Budget(packets_per_second=10, bytes_per_second=64_000), {"probes_per_second": 200.0}),
        (Budget(packets_per_second=100, bytes_per_second=1_000), {"probes_per_second": 200.0}),
        (
            Budget(packets_per_second=30, bytes_per_second=20_000),
            {"probes_per_second": 20.0, "train_every_seconds": 0.3},
        ),
    )

    async def run():
        return await asyncio.gather(*(probing(2.5, budget=budget, **paces) for budget, paces in trials))

    for (budget, _), (_, _, between, _) in zip(trials, asyncio.run(run()), strict=True):
        times, lengths = np.array(between.seen).T
        assert times.size >= 10
        for begin in times:
            within = (times >= begin) & (times < begin + 0.95)  # sent in a second may arrive in a bit less
            assert within.sum() <= budget.packets_per_second
            assert lengths[within].sum() <= budget.bytes_per_second


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.integers(92, 1500)), max_size=200),
    st.integers(1, 50),
    st.integers(100, 50_000),
)
def test_no_second_costs_more_than_the_budget(wishes, packets, bytes_):
    spending = Spending(Budget(packets_per_second=packets, bytes_per_second=bytes_))
    now, sent = 0.0, []
    for gap, length in wishes:
        now += gap
        if spending.packets_left(now, length):
            spending.spend(now, length)
            sent.append((now, length))
    for begin, _ in sent:
        within = [length for at, length in sent if begin <= at < begin + 1.0]
        assert len(within) <= packets
        assert sum(within) <= bytes_


@pytest.mark.parametrize("secret", [b"", b"not that secret!"])
def test_strangers_get_no_answer(secret):
    probes, trains, _, responder = probed(0.5 + PATIENCE_SECONDS, secret=secret, **FAST)
    assert probes.sent_seconds.size > 20
    assert np.isnan(probes.round_trip_seconds).all()
    assert trains == ()
    assert responder.ignored > 20


def test_an_answer_nobody_asked_for_changes_nothing(monkeypatch):
    """Of another session, of a number that is not out, twice: an attacker on the way knows no better."""
    monkeypatch.setattr("tidegate.drivers.probes.prober.PATIENCE_SECONDS", 60.0)  # none is lost meanwhile

    async def run():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as fake:
            fake.bind(("127.0.0.1", 0))
            fake.settimeout(5)
            address = f"127.0.0.1:{fake.getsockname()[1]}"
            async with Prober(address, seed=1, **FAST) as prober:
                await asyncio.sleep(0.05)
                token = Token(b"")
                data, asker = fake.recvfrom(2000)
                asked = token.opened(data, QUESTION)

                async def answer(session, number):
                    packet = Packet(
                        kind=ANSWER,
                        session=session % 2**64,
                        number=number,
                        asked_nanoseconds=asked.asked_nanoseconds,
                        answered_nanoseconds=2**64 - 1,  # away for centuries
                    )
                    fake.sendto(token.packed(packet), asker)
                    await asyncio.sleep(0.02)
                    return prober.take()[0].round_trip_seconds.tolist()

                forged = await answer(asked.session + 1, asked.number)
                forged += await answer(asked.session, asked.number + 999)
                right = await answer(asked.session, asked.number)
                return forged, right, await answer(asked.session, asked.number)

    forged, right, again = asyncio.run(run())
    assert forged == again == []
    assert len(right) == 1
    assert 0 < right[0] < 5


def test_one_question_gets_one_answer_that_is_no_longer():
    async def run():
        async with Responder("127.0.0.1:0", secret=SECRET) as responder:
            host, _, port = responder.address.rpartition(":")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.connect((host, int(port)))
                for length in (PROBE_BYTES, 1000):
                    question = Packet(kind=QUESTION, session=1, number=length, asked_nanoseconds=5)
                    asking.send(Token(SECRET).packed(question, length))
                await asyncio.sleep(0.1)
                asking.settimeout(0.0)
                answers = [asking.recv(2000) for _ in range(2)]
                with pytest.raises(BlockingIOError):
                    asking.recv(2000)
                return answers

    answers = asyncio.run(run())
    assert [len(answer) for answer in answers] == [PROBE_BYTES, PROBE_BYTES]
    assert [Token(SECRET).opened(answer, ANSWER).number for answer in answers] == [PROBE_BYTES, 1000]


def test_a_flood_is_not_answered(monkeypatch):
    monkeypatch.setattr("tidegate.drivers.probes.responder.ANSWERS_PER_SECOND_EACH_MAX", 5)

    async def run():
        async with Responder("127.0.0.1:0") as responder:
            host, _, port = responder.address.rpartition(":")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.connect((host, int(port)))
                for number in range(50):
                    question = Packet(kind=QUESTION, session=1, number=number, asked_nanoseconds=5)
                    asking.send(Token(b"").packed(question))
                await asyncio.sleep(0.1)
                return responder.ignored

    assert asyncio.run(run()) >= 40  # a second may end while they come


def test_nobody_at_the_other_end_is_loss_and_no_error():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"

    async def run():
        async with Prober(address, seed=1, **FAST) as prober:
            await asyncio.sleep(0.3 + PATIENCE_SECONDS)
            return prober.take()[0].round_trip_seconds

    back = asyncio.run(run())
    assert back.size > 15
    assert np.isnan(back).all()


def test_both_families_work_and_a_wildcard_answers_from_where_it_was_asked():
    async def run(bind, ask):
        async with Responder(bind) as responder:
            port = responder.address.rpartition(":")[2]
            async with Prober(f"{ask}:{port}", seed=1, **FAST) as prober:
                await asyncio.sleep(0.3)
                return prober.take()[0].round_trip_seconds, prober.local_host

    for bind, ask, local in (
        ("0.0.0.0:0", "127.0.0.7", "127.0.0.1"),
        ("[::1]:0", "[::1]", "::1"),
        ("[::]:0", "[::1]", "::1"),
    ):
        back, host = asyncio.run(run(bind, ask))
        assert np.isfinite(back).sum() > 10
        assert host == local


def test_what_can_not_be_is_refused_in_a_sentence():
    async def enter(thing):
        async with thing:
            pass

    for wrong in (
        lambda: Responder("nobody:1"),
        lambda: Responder("10.0.0.1"),
        lambda: Prober("127.0.0.1:1", seed=0, namespace="not-there-at-all"),
        lambda: Prober("127.0.0.1:1", seed=0, namespace="../up"),
        lambda: Prober("127.0.0.1:1", seed=0, probes_per_second=0.0),
        lambda: Budget(packets_per_second=0),
        lambda: Budget(bytes_per_second=10**9),
    ):
        with pytest.raises(InputError):
            asyncio.run(enter(wrong()))
    for impossible in (lambda: Responder("203.0.113.1:7"), lambda: Prober("no.such.host.invalid:7", seed=0)):
        with pytest.raises(TidegateError, match="can't be"):
            asyncio.run(enter(impossible()))


def test_without_anybody_who_takes_them_probes_are_forgotten_and_not_kept_for_ever():
    async def run():
        async with Responder("127.0.0.1:0") as responder, Prober(responder.address, seed=1, **FAST) as prober:
            prober._settled.extend((number, 0.1) for number in range(10_000))
            await asyncio.sleep(0.1)
            return prober.take()[0].sent_seconds.size

    assert asyncio.run(run()) == 4096
