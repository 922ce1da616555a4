"""`tidegate card` against a device that serves on a socket: tables, JSON, sentences and exit codes."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid

import pytest

from tidegate.agents.device.program import Configuration, Outside, serving_device
from tidegate.agents.device.room import Room
from tidegate.agents.device.store import opened
from tidegate.cli.card_amounts import parse_amounts
from tidegate.cli.main import run
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.application import Amounts
from tidegate.model.errors import InputError
from tidegate.testing.fake_runtime import FakeRuntime

GIB = 2**30
WAIT_SECONDS = 20


class Cards:
    """Devices on a thread of their own, as commands find them."""

    def __init__(self, folder):
        self.folder = folder
        self.runtimes = {}
        self.ready, self.loop = threading.Event(), asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self._serve(),))
        self.thread.start()
        assert self.ready.wait(WAIT_SECONDS)

    def address(self, name):
        return f"unix:{self.folder / name}.sock"

    async def _serve(self):
        self.ended = asyncio.Event()
        async with self._card("card-a"), self._card("card-b"):
            self.ready.set()
            await self.ended.wait()

    def _card(self, name):
        self.runtimes[name] = FakeRuntime(SystemClock())
        store = opened(self.folder / name)
        self.stores = [*getattr(self, "stores", []), store]
        configuration = Configuration(
            name=name,
            room=Room(capacity=Amounts(cpu_cores=4.0, memory_bytes=8 * GIB), reserved=Amounts(cpu_cores=0.5)),
            listen=self.address(name),
            state=self.folder / name,
            architecture="x86_64",
        )
        outside = Outside(
            store=store.__enter__(),
            runtime=self.runtimes[name],
            clock=SystemClock(),
            now=time.time_ns,
            new_id=lambda: str(uuid.uuid4()),
        )
        return serving_device(configuration, outside)

    def end(self):
        self.loop.call_soon_threadsafe(self.ended.set)
        self.thread.join(WAIT_SECONDS)
        self.loop.close()
        for store in self.stores:
            store.__exit__(None, None, None)


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    made = Cards(tmp_path_factory.mktemp("cards"))
    yield made
    made.end()


@pytest.fixture
def card(cards, capsys, monkeypatch):
    monkeypatch.setenv("TIDEGATE_DEVICE", cards.address("card-a"))

    def command(*words, code=0):
        assert run(["card", *words]) == code
        said = capsys.readouterr()
        return said.out + said.err

    yield command
    for name in list(cards.runtimes["card-a"]._programs):
        run(["card", "apps", "delete", name])


def test_a_card_is_shown_drained_and_resumed(card, cards, tmp_path):
    said = card("show", "--json", str(tmp_path / "card.json"))
    assert "Card card-a (x86_64) is ready" in said
    assert "3.50 cores" in said
    told = json.loads((tmp_path / "card.json").read_text())
    assert told["status"]["allocatable"]["cpu_millis"] == 3500
    assert told["status"]["capacity"]["gpu_millis"] is None
    assert told["status"]["phase"] == "CARD_PHASE_READY"
    assert "takes nothing new" in card("drain")
    assert "draining" in card("apps", "create", "x", "--", "serve", code=1)
    assert "takes applications" in card("resume")
    listed = card("list", cards.address("card-a"), cards.address("card-b"))
    assert "card-a" in listed
    assert "card-b" in listed


def test_an_application_is_made_shown_stopped_and_deleted(card, cards, tmp_path):
    assert "has no applications" in card("apps", "list")
    words = (
        "apps",
        "create",
        "web",
        "--amounts",
        "cpu=1,memory=1GiB",
        "--ceiling",
        "cpu=2",
        "--port",
        "7000",
    )
    given = ("--hands-off", "--latency", "10", "--env", "A=b", "--", "serve", "--fast")
    assert "would fit" in card(*words, "--dry-run", *given)
    assert "running" in card(*words, *given)
    spec = cards.runtimes["card-a"].program("web").spec
    assert (spec.command, spec.environment, spec.ports) == (("serve", "--fast"), {"A": "b"}, (7000,))
    assert (spec.sla.latency_p99_max_seconds, spec.hands_off) == (0.01, True)
    shown = card("apps", "show", "web", "--json", str(tmp_path / "web.json"))
    assert "serve --fast" in shown
    told = json.loads((tmp_path / "web.json").read_text())
    assert told["spec"]["environment"] == {"A": "b"}
    assert told["status"]["state"] == "APPLICATION_STATE_RUNNING"
    assert "stopped" in card("apps", "stop", "web", "--grace", "1s")
    assert "running" in card("apps", "start", "web")
    assert "is gone" in card("apps", "delete", "web")
    assert "has no application web" in card("apps", "show", "web", code=2)


def test_amounts_are_adjusted_and_refused(card):
    card("apps", "create", "web", "--amounts", "cpu=1,memory=1GiB", "--ceiling", "cpu=2", "--", "serve")
    assert "applied" in card("adjust", "web", "cpu=1.5,memory=2GiB", "--ttl", "10m")
    assert "above the ceiling of 2" in card("adjust", "web", "cpu=3", code=2)
    assert "memory_bytes is short by" in card("adjust", "web", "memory=9GiB", code=1)
    assert "'wings' is unknown" in card("adjust", "web", "wings=2", code=2)
    assert "1.50 cores, 2.00 GiB" in card("adjustments", "web")


def test_an_application_is_watched(card, cards):
    card("apps", "create", "web", "--amounts", "cpu=1", "--", "serve")
    assert "is watched every 0.2 s" in card("profile", "start", "web", "--interval", "0.2")
    assert "watched already" in card("profile", "start", "web", code=2)
    assert "samples" in card("profile", "show", "web")
    assert "watched no more" in card("profile", "stop", "web")
    assert "is not watched" in card("profile", "show", "web", code=2)


def test_an_application_moves_or_does_not(card, cards):
    assert "nothing is about to" in card("migrate", "list")
    card("apps", "create", "web", "--amounts", "cpu=1", "--hands-off", "--", "serve")
    to = ("--to", "card-b", "--to-address", cards.address("card-b"))
    assert "nothing was changed" in card("migrate", "start", "web", *to, "--dry-run")
    assert "on card card-a already" in card(
        "migrate", "start", "web", "--to", "card-a", "--to-address", cards.address("card-a"), code=1
    )
    nobody = ("--to", "card-c", "--to-address", "unix:/nowhere/card-c.sock")
    begun = card("migrate", "start", "web", *nobody)
    identifier = next(word for word in begun.split() if word.count("-") == 4)
    assert "being stopped" in card("migrate", "abort", identifier)
    assert "serves where it was" in card("migrate", "watch", identifier, code=1)
    assert "aborted" in card("migrate", "show", identifier)
    assert "succeeded" in card("migrate", "start", "web", *to, "--watch")
    assert cards.runtimes["card-b"].program("web").serving


def test_who_can_not_be_asked_is_named(card, monkeypatch):
    assert "nobody answers at unix:/nowhere" in card("show", "--address", "unix:/nowhere/card.sock", code=1)
    assert "is no address" in card("show", "--address", "nowhere", code=2)
    monkeypatch.delenv("TIDEGATE_DEVICE")
    assert "--address" in card("show", code=2)


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("cpu=1.5,memory=2GiB", Amounts(cpu_cores=1.5, memory_bytes=2 * GIB)),
        ("network=8Gb", Amounts(network_bytes_per_second=10**9)),
        ("", Amounts()),
    ],
)
def test_amounts_are_read_as_people_type_them(text, amounts):
    assert parse_amounts(text) == amounts


@pytest.mark.parametrize("text", ["cpu", "cpu=x", "cpu=1,cpu=2", "cpu=-1", "memory=1 apple"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(InputError):
        parse_amounts(text)
