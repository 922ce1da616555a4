"""How every `tidegate card` command asks a device, and shows what it says."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from tidegate.cli.doctor import printable
from tidegate.cli.files import check_writable, write_atomically
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message

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
        help="Where the card's device serves: unix:/PATH or tcp:HOST:PORT.",
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


@dataclass(frozen=True, slots=True)
class Asked:
    """A line to a device, and the resource name of its card."""

    line: Line
    card: str

    def application(self, name: str) -> str:
        """Return the resource name of an application there."""
        from tidegate.wire.names import ApplicationName, card_of

        return str(ApplicationName(card_of(self.card), name))


def ask(
    address: str | None,
    certs: Path | None,
    call: Callable[[Asked], Awaitable[None]],
    json: Path | None = None,
) -> None:
    """Have a coroutine ask the device at an address.

    Raises:
        InputError: no address is given, or it is none, or what was asked can't be.
        TidegateError: the device refuses, or does not answer.

    """
    check_writable(json)
    if address is None:
        raise InputError(f"say which device with --address ADDRESS, or in {ADDRESS_VARIABLE}")
    # gRPC's core writes to stderr what is told in a sentence anyway.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    asyncio.run(_asked(address, certs, call))


async def _asked(address: str, certs: Path | None, call: Callable[[Asked], Awaitable[None]]) -> None:
    from tidegate.wire.card.v1 import card_pb2, card_pb2_grpc
    from tidegate.wire.dialing import dialled
    from tidegate.wire.identities import Role

    async with dialled(address, expects=Role.DEVICE, clock=SystemClock(), certificates=certs) as line:
        with line.answers():
            listed = await card_pb2_grpc.CardServiceStub(line).ListCards(card_pb2.ListCardsRequest())
            if not listed.cards:
                raise InputError(f"{address} serves no card; ask a device")
            await call(Asked(line, listed.cards[0].name))


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


def say(text: str) -> None:
    """Say one sentence."""
    made = console()
    made.print(Text(printable(text)), soft_wrap=not made.is_terminal)


__all__ = [
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
    "say",
    "write_json",
]
