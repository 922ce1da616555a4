"""Cards as `tidegate device` runs them, with all that is made for them taken away again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from tidegate.agents.fleet.over_wire import WireCard
from tidegate.drivers.card.runtime import ProcessRuntime
from tidegate.drivers.local.clock import SystemClock
from tidegate.lab.bench.cards.namespaces import namespaces
from tidegate.lab.bench.cards.programs import SOURCE, Program
from tidegate.model.application import Amounts, ApplicationSpec, ApplicationState, Sla
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from tidegate.agents.fleet.records import CardSeen

READY_SECONDS: Final = 60.0
"""How long a device may take until it answers, or an application until it serves, on a busy machine."""
LOOK_SECONDS: Final = 0.05
FIRST_PORT: Final = 7101
APPLICATION_MEMORY_BYTES: Final = 100 << 20
MEMORY_PER_CARD: Final = "4GiB"
KEYVALUE: Final = "tidegate.examples.keyvalue"

Found = TypeVar("Found")
Beside: TypeAlias = "Callable[[Mapping[str, str]], AbstractContextManager[Mapping[str, Sequence[str]]]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """A key-value service to be run on a card."""

    name: str
    port: int
    cpu_cores: float
    work_seconds: float = 0.0
    """CPU each request costs beside what it costs anyway."""
    floor_cores: float | None = None
    """What it always holds."""
    latency_p99_max_seconds: float | None = None
    server: str = ""

    def spec(self) -> ApplicationSpec:
        """Return it as cards take it."""
        return ApplicationSpec(
            command=(
                sys.executable, "-m", KEYVALUE, "serve", "--host", "0.0.0.0", "--port", "{port}",  # noqa: S104
                "--work", str(self.work_seconds),
            ),
            environment={"PYTHONPATH": SOURCE},
            ports=(self.port,),
            amounts=Amounts(cpu_cores=self.cpu_cores, memory_bytes=APPLICATION_MEMORY_BYTES),
            floor=Amounts(cpu_cores=self.floor_cores),
            sla=Sla(latency_p99_max_seconds=self.latency_p99_max_seconds),
            hands_off=True,
            server=self.server,
        )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class CardHere:
    """One card on this machine."""

    name: str
    host: str
    """Where clients reach its applications; empty: this machine's own addresses."""
    address: str
    """Where its device serves."""
    device: Program
    wire: WireCard = field(init=False)

    def __post_init__(self) -> None:
        """Be ready to be asked."""
        self.wire = WireCard(self.name, self.address, clock=SystemClock())


@dataclass(slots=True, kw_only=True)
class Cell:
    """Cards, and where everything about them is."""

    folder: Path
    cards: dict[str, CardHere]
    """By letter."""

    async def ready(self) -> None:
        """Wait until every device answers.

        Raises:
            TidegateError: one does not in time.

        """
        deadline = perf_counter() + READY_SECONDS
        for card in self.cards.values():
            while True:
                try:
                    await card.wire.look()
                    break
                except Refusal as refused:
                    if card.device.ended or perf_counter() > deadline:
                        raise TidegateError(
                            f"the device of {card.name}: {refused}; {card.device.said()}"
                        ) from refused
                await asyncio.sleep(LOOK_SECONDS)

    async def run(self, application: KeyValue, on: str) -> None:
        """Start an application on a card and wait until it accepts connections."""
        card = self.cards[on]
        await card.wire.create(application.name, application.spec(), epoch=0)
        deadline = perf_counter() + READY_SECONDS
        while True:
            try:
                _, writer = await asyncio.open_connection(card.host, application.port)
            except OSError as error:
                if perf_counter() > deadline:
                    raise TidegateError(
                        f"{application.name} does not serve on card {on} ({error})"
                    ) from error
                await asyncio.sleep(LOOK_SECONDS)
            else:
                writer.close()
                return

    async def remove(self, name: str) -> None:
        """Have an application stopped and forgotten wherever it is."""
        for card in self.cards.values():
            with contextlib.suppress(TidegateError):  # what is left at the end is ended without its device
                await card.wire.delete(name)

    async def look(self) -> dict[str, CardSeen]:
        """Return every card as it tells of itself, by letter."""
        seen = await asyncio.gather(*(card.wire.look() for card in self.cards.values()))
        return dict(zip(self.cards, seen, strict=True))

    async def where(self) -> dict[str, str]:
        """Return the letter of the card on which each application serves."""
        return {
            one.name: letter
            for letter, card in (await self.look()).items()
            for one in card.applications
            if one.state is ApplicationState.RUNNING
        }

    async def close(self) -> None:
        """Hang up everywhere."""
        for card in self.cards.values():
            await card.wire.close()


@contextmanager
def _nothing(_namespaces: Mapping[str, str]) -> Iterator[Mapping[str, Sequence[str]]]:
    yield {}


@contextmanager
def cell(
    letters: Sequence[str], *, cores: float, others: Sequence[str] = (), beside: Beside = _nothing
) -> Iterator[Cell]:
    """Have cards of so many cores, each in a namespace of its own; nothing of them is left afterwards.

    ``others`` are letters of namespaces without a card. ``beside`` is given all namespaces by letter, makes
    what the cards need beside them, and says what their devices are told of it, by letter.

    Raises:
        InputError: this process is not root, or this machine lacks what it takes.

    """
    with ExitStack() as stack:
        spaces = stack.enter_context(namespaces([*letters, *others]))
        told = stack.enter_context(beside({letter: space for letter, (space, _) in spaces.items()}))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tgb-")))
        made: dict[str, CardHere] = {}
        for letter in letters:
            name = card_name(letter)
            space, host = spaces[letter]
            address = f"unix:{folder}/{letter}.sock"
            arguments = [
                "device", "--card", name, "--listen", address, "--state", str(folder / letter),
                "--host", host, "--cores", str(cores), "--memory", MEMORY_PER_CARD, "--namespace", space,
                *told.get(letter, ()),
            ]  # fmt: skip
            stack.callback(_emptied, name, space)
            device = stack.enter_context(Program(arguments, log=folder / f"{letter}.log"))
            made[letter] = CardHere(name=name, host=host, address=address, device=device)
        yield Cell(folder=folder, cards=made)


def on_cards(
    letters: Sequence[str],
    cores: float,
    do: Callable[[Cell], Awaitable[Found]],
    *,
    others: Sequence[str] = (),
    beside: Beside = _nothing,
) -> Found:
    """Have cards of so many cores, do something with them, and return what came of it.

    What else is there is as `cell` has it.

    Raises:
        InputError: this process is not root, or this machine lacks what it takes.

    """
    with cell(letters, cores=cores, others=others, beside=beside) as here:

        async def done() -> Found:
            try:
                await here.ready()
                return await do(here)
            finally:
                await here.close()

        return asyncio.run(done())


def card_name(letter: str) -> str:
    """Return what a card of this process is called."""
    return f"bench-{os.getpid()}-{letter}"


def _emptied(name: str, namespace: str | None) -> None:
    """End what runs on a card whose device has ended, and remove what was made for it."""
    runtime = ProcessRuntime(name, namespace=namespace)
    try:
        for found in runtime.found():
            runtime.stop(found.name, grace_seconds=0.0)
    finally:
        runtime.close()
        with contextlib.suppress(OSError):
            shutil.rmtree(f"/run/tidegate/{name}")


__all__ = ["Cell", "KeyValue", "cell", "on_cards"]
