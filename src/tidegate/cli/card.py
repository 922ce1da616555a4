"""`tidegate card`: looks at an offload card, and tells its device what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.cli import card_apps, card_migrate, card_profile
from tidegate.cli.card_amounts import amounts_text, parse_amounts
from tidegate.cli.card_line import (
    WHICH,
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
from tidegate.cli.card_tables import (
    adjustments_table,
    card_table,
    cards_table,
    conditions,
    last,
    links_table,
    servers_table,
    word,
)
from tidegate.cli.durations import parse_duration_seconds
from tidegate.cli.saying import say
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from tidegate.wire.card.v1 import card_pb2

card_app = typer.Typer(help="Offload cards: look, size, watch, move.", no_args_is_help=True)
card_app.add_typer(card_apps.apps_app, name="apps")
card_app.add_typer(card_profile.profile_app, name="profile")
card_app.add_typer(card_migrate.migrate_app, name="migrate")


@card_app.callback()
def _card(
    card: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which card, where a fleet manager is asked that has several."),
    ] = None,
) -> None:
    """Look after offload cards."""
    WHICH.set(card)


@card_app.command("show")
def show(address: AddressOption = None, certs: CertsOption = None, json: JsonOption = None) -> None:
    """Show a card: what it has, what is given and used, and what is wrong."""

    async def call(asked: Asked) -> None:
        card = await _get(asked)
        write_json(json, card)
        _show(card)

    ask(address, certs, call, json)


@card_app.command("list")
def list_command(
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="ADDRESS", help="Where the cards' devices serve.")
    ] = None,
    address: AddressOption = None,
    certs: CertsOption = None,
    json: JsonOption = None,
) -> None:
    """List the cards at one or several addresses; a fleet manager has them all."""
    found: list[card_pb2.Card] = []

    async def call(asked: Asked) -> None:
        found.extend(asked.cards)

    for each in [*addresses] if addresses else [address]:
        ask(each, certs, call, json, whichever=True)
    write_json(json, list(found))
    console().print(cards_table(found))


@card_app.command("drain")
def drain(address: AddressOption = None, certs: CertsOption = None, json: JsonOption = None) -> None:
    """Have a card take no new applications; those it has stay until they are moved."""
    _set_service(address, certs, json, draining=True)


@card_app.command("resume")
def resume(address: AddressOption = None, certs: CertsOption = None, json: JsonOption = None) -> None:
    """Have a card take applications again."""
    _set_service(address, certs, json, draining=False)


@card_app.command("adjust")
def adjust(
    name: NameArgument,
    amounts: Annotated[str, typer.Argument(metavar="AMOUNTS", help="As cpu=1.5,memory=2GiB.")],
    ttl: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Fall back to the last safe amounts after this time, as 10m."),
    ] = None,
    dry_run: DryRunOption = False,
    address: AddressOption = None,
    certs: CertsOption = None,
    json: JsonOption = None,
) -> None:
    """Change what an application holds; exit 1 where not all of it is in force."""
    wanted = parse_amounts(amounts)
    if not wanted.known():
        raise InputError("give at least one amount, as cpu=1.5")
    seconds = parse_duration_seconds(ttl) if ttl is not None else 0

    async def call(asked: Asked) -> None:
        from tidegate.wire.amounts import to_message
        from tidegate.wire.card.v1 import adjustment_pb2, adjustment_pb2_grpc

        request = adjustment_pb2.AdjustResourcesRequest(
            name=asked.application(name),
            wanted=to_message(wanted),
            ttl_nanoseconds=seconds * 10**9,
            validate_only=dry_run,
            request_id=request_id(),
        )
        stub = adjustment_pb2_grpc.AdjustmentServiceStub(asked.line)
        done = (await stub.AdjustResources(request)).adjustment
        write_json(json, done)
        console().print(adjustments_table([done]))
        if done.phase != adjustment_pb2.ADJUSTMENT_PHASE_APPLIED:
            phase = word(adjustment_pb2.AdjustmentPhase.Name(done.phase), "ADJUSTMENT_PHASE_").plain
            raise TidegateError(
                f"application {name} holds {amounts_text(done.applied)}: {phase}, as {done.reason}"
            )

    ask(address, certs, call, json, whichever=True)


@card_app.command("adjustments")
def adjustments(
    name: NameArgument, address: AddressOption = None, certs: CertsOption = None, json: JsonOption = None
) -> None:
    """List what was changed of an application's amounts lately, the newest first."""

    async def call(asked: Asked) -> None:
        from tidegate.wire.card.v1 import adjustment_pb2, adjustment_pb2_grpc

        stub = adjustment_pb2_grpc.AdjustmentServiceStub(asked.line)
        request = adjustment_pb2.ListAdjustmentsRequest(parent=asked.application(name))
        listed = await stub.ListAdjustments(request)
        write_json(json, list(listed.adjustments))
        console().print(adjustments_table(listed.adjustments))

    ask(address, certs, call, json, whichever=True)


def _set_service(address: AddressOption, certs: CertsOption, json: JsonOption, *, draining: bool) -> None:
    async def call(asked: Asked) -> None:
        from google.protobuf.field_mask_pb2 import FieldMask

        from tidegate.wire.card.v1 import card_pb2, card_pb2_grpc

        service = card_pb2.SERVICE_DRAINING if draining else card_pb2.SERVICE_IN
        request = card_pb2.UpdateCardRequest(
            card=card_pb2.Card(name=asked.card, spec=card_pb2.CardSpec(service=service)),
            update_mask=FieldMask(paths=["spec.service"]),
            request_id=request_id(),
        )
        card = (await card_pb2_grpc.CardServiceStub(asked.line).UpdateCard(request)).card
        write_json(json, card)
        takes = "takes nothing new; what it has stays until it is moved" if draining else "takes applications"
        say(f"Card {last(card.name)} {takes}.")

    ask(address, certs, call, json)


async def _get(asked: Asked) -> card_pb2.Card:
    from tidegate.wire.card.v1 import card_pb2, card_pb2_grpc

    answer = await card_pb2_grpc.CardServiceStub(asked.line).GetCard(card_pb2.GetCardRequest(name=asked.card))
    return answer.card


def _show(card: card_pb2.Card) -> None:
    from tidegate.wire.card.v1 import card_pb2

    phase = word(card_pb2.CardPhase.Name(card.status.phase), "CARD_PHASE_").plain
    say(
        f"Card {last(card.name)} ({card.status.architecture}) is {phase}; "
        f"state version {card.status.state_version}."
    )
    shown = console()
    shown.print(card_table(card))
    for line in conditions(card.status.conditions):
        shown.print(line)
    if card.status.servers:
        shown.print(servers_table(card.status.servers))
    if card.status.links:
        shown.print(links_table(card.status.links))


__all__ = ["card_app"]
