"""`tidegate card apps`: the applications on a card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.cli.card_amounts import amounts_text, parse_amounts
from tidegate.cli.card_line import (
    WHICHEVER,
    AddressOption,
    Asked,
    CertsOption,
    DryRunOption,
    JsonOption,
    NameArgument,
    ask,
    console,
    request_id,
    write_json,
)
from tidegate.cli.card_tables import applications_table, conditions, last
from tidegate.cli.durations import parse_duration_seconds
from tidegate.cli.saying import say
from tidegate.model.application import ApplicationSpec, ApplicationState, Restart, Sla
from tidegate.model.byte_amounts import parse_bytes
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from tidegate.wire.card.v1 import application_pb2, application_pb2_grpc

START_SECONDS = 30.0
"""How long a program may take to start."""
PAGES_MAX = 1000

apps_app = typer.Typer(help="Applications on a card.", no_args_is_help=True)


PortOption = Annotated[list[int] | None, typer.Option(help="A TCP port it serves on; may be repeated.")]
EnvironmentOption = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME=VALUE", help="A variable for it; may be repeated."),
]
HandsOffOption = Annotated[
    bool, typer.Option("--hands-off", help="It speaks the hand-off contract, and moves with its state.")
]
NeverOption = Annotated[bool, typer.Option("--never-restart", help="Leave it where it ends by itself.")]
LatencyOption = Annotated[
    str | None, typer.Option(metavar="MILLISECONDS", help="99th percentile agreed on, as 10.")
]


@apps_app.callback()
def _apps() -> None:
    """Look after a card's applications."""


@apps_app.command("list")
def list_command(address: AddressOption = None, certs: CertsOption = None, json: JsonOption = None) -> None:
    """List a card's applications."""

    async def call(asked: Asked) -> None:
        from tidegate.wire.card.v1 import application_pb2

        found: list[application_pb2.Application] = []
        request = application_pb2.ListApplicationsRequest(parent=asked.card)
        for _ in range(PAGES_MAX):
            answer = await _stub(asked).ListApplications(request)
            found += answer.applications
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
        write_json(json, list(found))
        if not found:
            where = "No card" if asked.card == WHICHEVER else f"Card {last(asked.card)}"
            has = "has an application" if asked.card == WHICHEVER else "has no applications"
            say(f"{where} {has}; make one with 'tidegate card apps create'.")
            return
        console().print(applications_table(found))

    ask(address, certs, call, json, whichever=True)


@apps_app.command("show")
def show(
    name: NameArgument, address: AddressOption = None, certs: CertsOption = None, json: JsonOption = None
) -> None:
    """Show an application: what is wanted of it, and how it is."""

    async def call(asked: Asked) -> None:
        from tidegate.wire.card.v1 import application_pb2

        request = application_pb2.GetApplicationRequest(name=asked.application(name))
        one = (await _stub(asked).GetApplication(request)).application
        write_json(json, one)
        shown = console()
        shown.print(applications_table([one]))
        for line in conditions(one.status.conditions):
            shown.print(line)
        say(f"command  {' '.join(one.spec.command)}")
        say(f"floor    {amounts_text(one.spec.floor)}")
        say(f"ceiling  {amounts_text(one.spec.ceiling)}")
        say(f"hand-off {'yes' if one.spec.hands_off else 'no'}")

    ask(address, certs, call, json, whichever=True)


@apps_app.command("create")
def create(
    name: NameArgument,
    command: Annotated[
        list[str],
        typer.Argument(metavar="COMMAND", help="Program and arguments, after '--'; {port} is a port."),
    ],
    amounts: Annotated[
        str, typer.Option(metavar="AMOUNTS", help="What it holds at first, as cpu=1,memory=512MiB.")
    ] = "",
    floor: Annotated[str, typer.Option(metavar="AMOUNTS", help="Least it ever holds.")] = "",
    ceiling: Annotated[str, typer.Option(metavar="AMOUNTS", help="Most it ever holds.")] = "",
    port: PortOption = None,
    env: EnvironmentOption = None,
    hands_off: HandsOffOption = False,
    latency: LatencyOption = None,
    priority: Annotated[int, typer.Option(help="SLA class, 0-255; a higher one gives way later.")] = 0,
    state_size: Annotated[str, typer.Option(metavar="BYTES", help="Its state's size, about.")] = "0",
    server: Annotated[str, typer.Option(help="The server whose work it does.")] = "",
    never_restart: NeverOption = False,
    stopped: Annotated[bool, typer.Option("--stopped", help="Take it in and leave it stopped.")] = False,
    epoch: Annotated[int, typer.Option(help="Its epoch, where it was on another card before.")] = 0,
    dry_run: DryRunOption = False,
    address: AddressOption = None,
    certs: CertsOption = None,
    json: JsonOption = None,
) -> None:
    """Take an application in, and start it."""
    spec = ApplicationSpec(
        command=tuple(command),
        environment=_environment(env or []),
        ports=tuple(port or ()),
        amounts=parse_amounts(amounts),
        floor=parse_amounts(floor),
        ceiling=parse_amounts(ceiling),
        sla=Sla(latency_p99_max_seconds=_seconds(latency), priority=priority),
        hands_off=hands_off,
        server=server,
        state_bytes=round(parse_bytes(state_size)),
        restart=Restart.NEVER if never_restart else Restart.ON_FAILURE,
    )
    begins = ApplicationState.STOPPED if stopped else ApplicationState.RUNNING

    async def call(asked: Asked) -> None:
        from tidegate.wire.applications import spec_message, state_message
        from tidegate.wire.card.v1 import application_pb2

        request = application_pb2.CreateApplicationRequest(
            parent=asked.card,
            application_id=name,
            application=application_pb2.Application(spec=spec_message(spec)),
            epoch=epoch,
            start_as=state_message(begins),
            validate_only=dry_run,
            request_id=request_id(),
        )
        answer = await _stub(asked).CreateApplication(request, timeout=START_SECONDS)
        _told(answer.application, json)
        if dry_run:
            say("It would fit; nothing was changed.")

    ask(address, certs, call, json, whichever=True)


@apps_app.command("start")
def start(
    name: NameArgument, address: AddressOption = None, certs: CertsOption = None, json: JsonOption = None
) -> None:
    """Start an application that is stopped, or has failed."""

    async def call(asked: Asked) -> None:
        from tidegate.wire.card.v1 import application_pb2

        request = application_pb2.StartApplicationRequest(
            name=asked.application(name), request_id=request_id()
        )
        answer = await _stub(asked).StartApplication(request, timeout=START_SECONDS)
        _told(answer.application, json)

    ask(address, certs, call, json, whichever=True)


GraceOption = Annotated[str, typer.Option(metavar="DURATION", help="How long it may take to end by itself.")]


@apps_app.command("stop")
def stop(
    name: NameArgument,
    grace: GraceOption = "10s",
    address: AddressOption = None,
    certs: CertsOption = None,
    json: JsonOption = None,
) -> None:
    """Stop an application; what it holds stays its own."""
    seconds = parse_duration_seconds(grace)

    async def call(asked: Asked) -> None:
        from tidegate.wire.card.v1 import application_pb2

        request = application_pb2.StopApplicationRequest(
            name=asked.application(name), grace_nanoseconds=seconds * 10**9, request_id=request_id()
        )
        answer = await _stub(asked).StopApplication(request, timeout=seconds + START_SECONDS)
        _told(answer.application, json)

    ask(address, certs, call, json, whichever=True)


@apps_app.command("delete")
def delete(name: NameArgument, address: AddressOption = None, certs: CertsOption = None) -> None:
    """Stop an application and forget it."""

    async def call(asked: Asked) -> None:
        from tidegate.wire.card.v1 import application_pb2

        request = application_pb2.DeleteApplicationRequest(
            name=asked.application(name), request_id=request_id()
        )
        await _stub(asked).DeleteApplication(request, timeout=START_SECONDS)
        where = "the fleet" if asked.card == WHICHEVER else f"card {last(asked.card)}"
        say(f"Application {name} is gone from {where}.")

    ask(address, certs, call, whichever=True)


def _stub(asked: Asked) -> application_pb2_grpc.ApplicationServiceAsyncStub:
    from tidegate.wire.card.v1 import application_pb2_grpc

    return application_pb2_grpc.ApplicationServiceStub(asked.line)


def _told(one: application_pb2.Application, json: JsonOption) -> None:
    write_json(json, one)
    console().print(applications_table([one]))


def _environment(given: list[str]) -> dict[str, str]:
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise InputError(f"{one!r} sets no variable; write NAME=VALUE")
        found[name] = value
    return found


def _seconds(milliseconds: str | None) -> float | None:
    if milliseconds is None:
        return None
    try:
        return float(milliseconds.removesuffix("ms")) / 1000
    except ValueError as error:
        raise InputError(f"{milliseconds!r} is no time in milliseconds; write one like 10") from error


__all__ = ["apps_app"]
