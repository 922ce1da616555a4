"""How every `tidegate card` command asks a device, and shows what it says."""

from __future__ import annotations

import asyncio
import os
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer
from rich.console import Console

from tidegate.cli.files import check_writable, write_atomically
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.application import checked_name
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message

    from tidegate.wire.card.v1 import card_pb2
    from tidegate.wire.dialing import Line

COLUMNS_MAX: Final = 1000
"""Width where nobody looks on, as of `| grep`: a row stays on one line."""
ADDRESS_VARIABLE: Final = "TIDEGATE_DEVICE"
CERTS_VARIABLE: Final = "TIDEGATE_CERTS"

AddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        envvar=ADDRESS_VARIABLE,
        show_default=False,
        help="Where the card's device, or the fleet manager, serves: unix:/PATH or tcp:HOST:PORT.",
    ),
]
CertsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        envvar=CERTS_VARIABLE,
        show_default=False,
        help="Your certificates, of 'tidegate certs issue --role operator'; a socket needs none.",
    ),
]
JsonOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write what the device said here, for machines.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would come of it; nothing is changed.")
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The application.")]


WHICH: Final[ContextVar[str | None]] = ContextVar("which card", default=None)
"""The card that `tidegate card --card` named."""
WHICHEVER: Final = "cards/-"
"""To a fleet manager: whichever card fits, or has it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A line to a device or a fleet manager, and the resource name of the card that is meant."""

    line: Line
    card: str
    cards: tuple[card_pb2.Card, ...] = ()
    """All that are served there."""

    def application(self, name: str) -> str:
        """Return the resource name of an application there."""
        from tidegate.wire.names import ApplicationName, card_of

        if self.card == WHICHEVER:
            return f"{WHICHEVER}/applications/{checked_name('an application', name)}"
        return str(ApplicationName(card_of(self.card), name))


def ask(
    address: str | None,
    certs: Path | None,
    call: Callable[[Asked], Awaitable[None]],
    json: Path | None = None,
    *,
    whichever: bool = False,
) -> None:
    """Have a coroutine ask the device, or the fleet manager, at an address.

    Where several cards are served, one must be named, unless ``whichever`` of them will do.

    Raises:
        InputError: no address is given, or it is none, or what was asked can't be.
        TidegateError: the device refuses, or does not answer.

    """
    check_writable(json)
    if address is None:
        raise InputError(f"say which device with --address ADDRESS, or in {ADDRESS_VARIABLE}")
    # gRPC's core writes to stderr what is told in a sentence anyway.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    asyncio.run(_asked(address, certs, call, whichever=whichever))


async def _asked(
    address: str, certs: Path | None, call: Callable[[Asked], Awaitable[None]], *, whichever: bool
) -> None:
    from tidegate.model.refusals import Because, Refusal
    from tidegate.wire.card.v1 import card_pb2, card_pb2_grpc
    from tidegate.wire.dialing import dialled
    from tidegate.wire.identities import Role

    first: Refusal | None = None
    # Whether a device or a fleet manager serves there, its certificate tells, and only by trying.
    for role in (Role.DEVICE, Role.FLEET) if certs is not None else (Role.DEVICE,):
        async with dialled(address, expects=role, clock=SystemClock(), certificates=certs) as line:
            try:
                with line.answers():
                    stub = card_pb2_grpc.CardServiceStub(line)
                    listed = await stub.ListCards(card_pb2.ListCardsRequest())
            except Refusal as refused:
                if refused.because is not Because.UNREACHABLE:
                    raise
                first = first or refused
                continue
            cards = tuple(listed.cards)
            with line.answers():
                await call(Asked(line, _meant(address, cards, whichever=whichever), cards))
            return
    assert first is not None, "without one, somebody answered"
    raise first


def _meant(address: str, cards: tuple[card_pb2.Card, ...], *, whichever: bool) -> str:
    """Return the resource name of the card that is meant, among those served at an address.

    Raises:
        InputError: none is served, none of the name that was given, or several and none was named.

    """
    from tidegate.wire.names import card_name

    names = [card.name for card in cards]
    named = WHICH.get()
    listed = ", ".join(name.rpartition("/")[2] for name in names)
    if not names:
        raise InputError(f"{address} serves no card; ask a device")
    if named is not None:
        if card_name(named) not in names:
            raise InputError(f"{address} serves no card '{named}'; it serves {listed}")
        return card_name(named)
    if len(names) > 1 and not whichever:
        raise InputError(f"{address} serves {listed}; name one: tidegate card --card NAME ...")
    return names[0] if len(names) == 1 else WHICHEVER


def request_id() -> str:
    """Return an identifier for one request: if its answer is lost, it is not done twice."""
    import uuid

    return str(uuid.uuid4())


def write_json(path: Path | None, message: Message | list[Message]) -> None:
    """Write what a device said, as numbers in base units under the protocol's names."""
    if path is not None:
        said = [plain(one) for one in message] if isinstance(message, list) else plain(message)
        write_atomically(path, msgspec.json.format(msgspec.json.encode(said)))


def plain(message: Message) -> dict[str, Any]:
    """Return a message as JSON has it: numbers are numbers, enums their names; what is not said is null."""
    return {field.name: _value(message, field) for field in message.DESCRIPTOR.fields}


def _value(message: Message, field: Any) -> Any:  # noqa: ANN401 - descriptors have no types of their own
    value = getattr(message, field.name)
    entries = field.message_type is not None and field.message_type.GetOptions().map_entry
    if entries:
        return dict(value)
    if field.is_repeated:
        return [_single(one, field) for one in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _single(value, field)


def _single(value: Any, field: Any) -> Any:  # noqa: ANN401
    if field.message_type is not None:
        return plain(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    return value


def console() -> Console:
    """Return where tables go; rows stay whole where nobody looks on."""
    made = Console(highlight=False)
    if not made.is_terminal:
        made.width = COLUMNS_MAX
    return made


__all__ = [
    "WHICH",
    "WHICHEVER",
    "AddressOption",
    "Asked",
    "CertsOption",
    "DryRunOption",
    "JsonOption",
    "NameArgument",
    "ask",
    "console",
    "plain",
    "request_id",
    "write_json",
]
