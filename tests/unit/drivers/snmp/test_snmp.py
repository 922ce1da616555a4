"""Ports of an agent: a real snmpd on the loopback, and what no agent here would do."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from tidegate.drivers.snmp import tables
from tidegate.drivers.snmp.access import Authentication, Community, Privacy, User
from tidegate.drivers.snmp.reading import SnmpInterfaces
from tidegate.drivers.snmp.tables import Port, counters_of, is_still
from tidegate.model.errors import InputError, TidegateError
from tidegate.telemetry.counters import CounterWindow, grown

SNMPD = shutil.which("snmpd") or shutil.which("snmpd", path="/usr/sbin:/usr/local/sbin")
PUBLIC, OLD, WRONG = Community(name="public"), Community(name="old"), Community(name="wrong")
READER = User(name="reader", authentication_passphrase="authpassphrase", privacy_passphrase="privpassphrase")
CONFIGURATION = """\
agentaddress udp:127.0.0.1:{port}
rocommunity public 127.0.0.1
view without_long_counters included .1
view without_long_counters excluded .1.3.6.1.2.1.31
com2sec old 127.0.0.1 old
group old v2c old
access old "" any noauth exact without_long_counters none none
createUser reader SHA-256 authpassphrase AES privpassphrase
rouser reader priv
"""
GIGABIT_BYTES = 125e6


class Agent:
    """An snmpd of its own."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "snmpd.conf").write_text(CONFIGURATION.format(port=self.port))

    def start(self):
        self.process = subprocess.Popen(
            [SNMPD, "-f", "-Ln", "-C", "-c", self.folder / "snmpd.conf", "-p", self.folder / "pid"],
            env={"SNMP_PERSISTENT_DIR": str(self.folder / "kept"), "SNMPCONFPATH": str(self.folder)},
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                asyncio.run(self.asked(lambda reader: reader.discover()))
            except TidegateError:
                assert time.monotonic() < deadline, "snmpd does not answer"
            else:
                return

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)

    async def asked(self, act, access=PUBLIC, **options):
        options = {"answer_seconds": 0.5} | options
        async with SnmpInterfaces("127.0.0.1", access, port=self.port, **options) as reader:
            return await act(reader)

    def ask(self, act, access=PUBLIC, **options):
        return asyncio.run(self.asked(act, access, **options))


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    if SNMPD is None:
        pytest.skip("no snmpd on this machine: install Debian's package 'snmpd', or another Net-SNMP agent")
    made = Agent(tmp_path_factory.mktemp("snmpd"))
    made.start()
    yield made
    made.stop()


def kernel_counter(name="lo"):
    for line in Path("/proc/net/dev").read_text().splitlines():
        if line.strip().startswith(f"{name}:"):
            return int(line.partition(":")[2].split()[0])
    raise AssertionError(name)


async def read(reader):
    return await reader.read()


@pytest.mark.parametrize(
    ("access", "bits"),
    [
        (PUBLIC, 64),
        (OLD, 32),
        (READER, 64),
    ],
    ids=["v2c", "v2c without long counters", "v3"],
)
def test_counters_are_the_kernels(agent, access, bits):
    before = kernel_counter()
    counters = agent.ask(read, access, interfaces=["lo"])
    assert counters.names == ("lo",)
    assert counters.known.all()
    assert counters.bits.tolist() == [bits]
    assert counters.is_up.all()
    assert counters.bytes_per_second_max > 0
    told = int(counters.received_bytes[0])
    # An agent keeps what it has read for some seconds.
    assert (before - told) % 2**bits < 50_000_000 or (told - before) % 2**bits < 1_000_000


def test_without_names_all_there_are_are_read(agent):
    ports = agent.ask(lambda reader: reader.discover())
    there = {name for _, name in socket.if_nameindex()}
    assert {port.name for port in ports} == there
    assert agent.ask(read).names == tuple(port.name for port in ports)


def test_what_is_carried_between_two_readings_is_told(agent):
    async def twice(reader):
        window = CounterWindow()
        window.add(await reader.read())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            deadline = time.monotonic() + 15
            while time.monotonic() < deadline:
                for _ in range(50):
                    sending.sendto(bytes(1400), ("127.0.0.1", 9))
                await asyncio.sleep(0.3)
                window.add(await reader.read())
                if window.carried().of("lo")[0] > 20_000:
                    break
        return window.carried().of("lo")[0]

    # 50 packets every 0.3 s are 240 kB/s; an agent may tell them late.
    assert agent.ask(twice, interfaces=["lo"]) > 20_000


def test_an_interface_it_does_not_have_is_named(agent):
    with pytest.raises(TidegateError, match=r"no interface 'port99'; it has .*lo"):
        agent.ask(read, interfaces=["lo", "port99"])


@pytest.mark.parametrize(
    "access",
    [
        WRONG,
        User(name="reader", authentication_passphrase="wrongphrase", privacy_passphrase="privpassphrase"),
        User(name="stranger", authentication_passphrase="authpassphrase"),
        User(name="reader", authentication_passphrase="authpassphrase"),
        User(
            name="reader",
            authentication_passphrase="authpassphrase",
            authentication=Authentication.SHA512,
            privacy_passphrase="privpassphrase",
            privacy=Privacy.AES256,
        ),
    ],
    ids=["community", "passphrase", "user", "without privacy", "other algorithms"],
)
def test_who_is_not_let_in_is_told_so_within_seconds(agent, access):
    began = time.monotonic()
    with pytest.raises(TidegateError, match=r"SNMP agent '127\.0\.0\.1'"):
        agent.ask(read, access)
    assert time.monotonic() - began < 5


def test_an_agent_that_starts_anew_is_noticed(agent, tmp_path):
    other = Agent(tmp_path)
    other.start()

    async def over_a_restart(reader):
        await asyncio.sleep(1.0)  # so that it has been up for longer than the next one
        before = await reader.read()
        other.stop()
        with pytest.raises(TidegateError, match="gave no answer"):
            await reader.read()
        await asyncio.to_thread(other.start)
        after = await reader.read()
        again = await reader.read()
        return before, after, again

    try:
        before, after, again = other.ask(over_a_restart, interfaces=["lo"])
    finally:
        other.stop()
    assert np.isnan(grown(before, after).received_bytes).all()
    assert grown(after, again).received_bytes >= 0


def test_nobody_there_is_told_within_the_time_it_takes_to_ask_twice():
    async def ask():
        async with SnmpInterfaces("127.0.0.1", PUBLIC, port=9, answer_seconds=0.2) as reader:
            await reader.read()

    began = time.monotonic()
    with pytest.raises(TidegateError, match="gave no answer"):
        asyncio.run(ask())
    assert time.monotonic() - began < 3


def test_a_reading_that_takes_for_ever_ends(monkeypatch):
    monkeypatch.setattr("tidegate.drivers.snmp.reading.READ_SECONDS", 0.2)

    async def ask():
        async with SnmpInterfaces("127.0.0.1", PUBLIC, port=9, answer_seconds=30.0) as reader:
            await reader.read()

    with pytest.raises(TidegateError, match="took more than"):
        asyncio.run(ask())


def test_what_can_not_be_is_refused_in_a_sentence():
    with pytest.raises(InputError, match="8 characters"):
        User(name="a", authentication_passphrase="short")
    with pytest.raises(InputError, match="8 characters"):
        User(name="a", authentication_passphrase="long enough", privacy_passphrase="short")
    with pytest.raises(InputError, match="1024"):
        SnmpInterfaces("a", PUBLIC, interfaces=[str(number) for number in range(1025)])
    assert "passphrase" not in repr(READER)
    assert "public" not in repr(PUBLIC)

    async def unknown():
        async with SnmpInterfaces("no.such.host.invalid", PUBLIC):
            pass

    with pytest.raises(TidegateError, match="can't be found"):
        asyncio.run(unknown())
    with pytest.raises(TidegateError, match="context manager"):
        asyncio.run(SnmpInterfaces("127.0.0.1", PUBLIC).read())


# --- Cells, without an agent ---------------------------------------------------------------------


def cells(index, **columns):
    return {f"{getattr(tables, name.upper())}.{index}": value for name, value in columns.items()}


def test_cells_become_columns():
    known = cells(
        7,
        name="Ethernet7",
        state=1,
        speed=2**32 - 1,
        long_speed=100_000,
        received=5,
        sent=6,
        long_received=2**63,
        long_sent=2**40,
        discontinuity=4711,
    ) | cells(8, description="old8", state=2, speed=10**8, received=1, sent=2)
    ports = [Port(name="Ethernet7", index=7), Port(name="old8", index=8), Port(name="gone", index=9)]
    found = counters_of(ports, known, time_seconds=5.0, starts=1)
    assert found.received_bytes.tolist() == [2**63, 1, 0]
    assert found.sent_bytes.tolist() == [2**40, 2, 0]
    assert found.bits.tolist() == [64, 32, 32]
    assert found.known.tolist() == [True, True, False]
    assert found.is_up.tolist() == [True, False, False]
    assert found.bytes_per_second_max.tolist()[:2] == [100 * GIGABIT_BYTES, GIGABIT_BYTES / 10]
    assert np.isnan(found.bytes_per_second_max[2])
    assert found.since.tolist() == [tables.STARTS_EACH + 4711, tables.STARTS_EACH, tables.STARTS_EACH]
    assert counters_of([], {}, time_seconds=5.0, starts=0).names == ()


def test_a_number_that_means_another_interface_now_is_not_believed():
    port = Port(name="Ethernet7", index=7)
    moved = cells(7, name="Ethernet9", description="Ethernet7", long_received=1, long_sent=1)
    assert not is_still(port, moved)
    assert not counters_of([port], moved, time_seconds=0.0, starts=0).known.any()
    assert is_still(port, cells(7, description="Ethernet7"))


class Numbering(SnmpInterfaces):
    """An agent in words: answers are cells, as they would have arrived."""

    def __init__(self, answers, **options):
        super().__init__("switch", PUBLIC, **options)
        self.answers, self.asked = answers, []
        self._engine = self

    async def _ask(self, command, oids, *how):
        self.asked.append((command.__name__, oids))
        return self.answers(command.__name__, oids)


def table(names):
    """Answers of an agent whose ports have these names, by number."""

    def answers(command, oids):
        if command == "get_cmd":
            every = {tables.UP_TIME: 10**6}
            for index, name in names().items():
                every |= cells(index, name=name, long_received=100 * index, long_sent=1)
            return {oid: every[oid] for oid in oids if oid in every}
        column, _, last = oids[0].rpartition(".") if oids[0] != tables.NAME else (tables.NAME, "", "0")
        later = sorted(index for index in names() if index > int(last))
        return {f"{column}.{index}": names()[index] for index in later[:25]} | (
            {} if len(later) > 25 else {"1.3.6.1.2.1.31.1.1.1.2.1": 0}
        )

    return answers


def test_a_walk_goes_on_until_the_table_ends_and_not_in_circles():
    many = {number: f"port{number}" for number in range(1, 80)}
    reader = Numbering(table(lambda: many))
    assert [port.index for port in asyncio.run(reader.discover())] == list(many)
    circle = Numbering(lambda *_: {f"{tables.NAME}.1": "port1"})
    assert asyncio.run(circle.discover()) == (Port(name="port1", index=1),)
    assert len(circle.asked) == 2
    numbers = count(1)

    def endless(command, oids):
        return {f"{tables.NAME}.{next(numbers)}": "p" for _ in range(25)}

    assert len(asyncio.run(Numbering(endless).discover())) == 1024


def test_interfaces_that_were_numbered_anew_are_found_again_by_name():
    now = {1: "a", 2: "b"}
    reader = Numbering(table(lambda: now), interfaces=["b"])
    assert asyncio.run(reader.read()).received_bytes.tolist() == [200]
    now = {5: "b", 6: "a"}
    found = asyncio.run(reader.read())
    assert (found.received_bytes.tolist(), found.known.tolist()) == ([500], [True])
    now = {6: "a"}
    assert asyncio.run(reader.read()).known.tolist() == [False]
