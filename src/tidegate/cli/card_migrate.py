"""`tidegate card migrate`: moves applications to other cards."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tidegate.cli.card_line import (
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
from tidegate.cli.card_tables import last, migrations_table, word
from tidegate.cli.saying import say
from tidegate.model.errors import TidegateError

if TYPE_CHECKING:
    from tidegate.wire.card.v1 import migration_pb2, migration_pb2_grpc

PAGES_MAX: Final = 1000

migrate_app = typer.Typer(help="Move applications between cards.", no_args_is_help=True)
MigrationArgument = Annotated[
    str, typer.Argument(metavar="MIGRATION", help="As 'start' and 'list' say it, or its whole name.")
]


class Way(Enum):
    """How something is moved."""

    HANDOFF = "handoff"
    RESTART = "restart"


@migrate_app.callback()
def _migrate() -> None:
    """Move applications."""


@migrate_app.command("start")
def start(
    name: NameArgument,
    to: Annotated[str, typer.Option(metavar="CARD", help="The card it goes to.")],
    to_address: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Where that card's device serves, as this one reaches it; a fleet manager knows it.",
        ),
    ] = "",
    way: Annotated[
        Way | None, typer.Option("--how", help="With its state, or anew; what it can by default.")
    ] = None,
    epoch: Annotated[int, typer.Option(help="Its epoch there; the next one by default.")] = 0,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    watching: Annotated[bool, typer.Option("--watch", help="Wait and show how it goes on.")] = False,
    dry_run: DryRunOption = False,
    address: AddressOption = None,
    certs: CertsOption = None,
    json: JsonOption = None,
) -> None:
    """Begin to move an application to another card; exit 1 where it is watched and does not succeed."""

    async def call(asked: Asked) -> None:
        from tidegate.wire.card.v1 import migration_pb2

        ways = {
            None: migration_pb2.STRATEGY_UNSPECIFIED,
            Way.HANDOFF: migration_pb2.STRATEGY_HANDOFF,
            Way.RESTART: migration_pb2.STRATEGY_RESTART,
        }
        spec = migration_pb2.MigrationSpec(
            application=asked.application(name),
            target=f"cards/{to}",
            target_address=to_address,
            strategy=ways[way],
            epoch=epoch,
            reason=reason,
        )
        request = migration_pb2.CreateMigrationRequest(
            parent=asked.card,
            migration=migration_pb2.Migration(spec=spec),
            validate_only=dry_run,
            request_id=request_id(),
        )
        made = (await _stub(asked).CreateMigration(request)).migration
        if dry_run:
            say("It can be begun; the other card was not asked, and nothing was changed.")
        elif watching:
            made = await _watched(asked, made.name)
        write_json(json, made)
        console().print(migrations_table([made]))
        if watching:
            _require_success(made)

    ask(address, certs, call, json, whichever=True)


@migrate_app.command("show")
def show(
    migration: MigrationArgument,
    address: AddressOption = None,
    certs: CertsOption = None,
    json: JsonOption = None,
) -> None:
    """Show how far a migration is."""

    async def call(asked: Asked) -> None:
        from tidegate.wire.card.v1 import migration_pb2

        request = migration_pb2.GetMigrationRequest(name=_name(asked, migration))
        _told((await _stub(asked).GetMigration(request)).migration, json)

    ask(address, certs, call, json, whichever="/" in migration)


@migrate_app.command("list")
def list_command(address: AddressOption = None, certs: CertsOption = None, json: JsonOption = None) -> None:
    """List the migrations away from a card, the newest first."""

    async def call(asked: Asked) -> None:
        from tidegate.wire.card.v1 import migration_pb2

        found: list[migration_pb2.Migration] = []
        request = migration_pb2.ListMigrationsRequest(parent=asked.card)
        for _ in range(PAGES_MAX):
            answer = await _stub(asked).ListMigrations(request)
            found += answer.migrations
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
        write_json(json, list(found))
        if not found:
            say(f"Nothing has left card {last(asked.card)}, and nothing is about to.")
            return
        console().print(migrations_table(found))

    ask(address, certs, call, json)


@migrate_app.command("abort")
def abort(
    migration: MigrationArgument,
    address: AddressOption = None,
    certs: CertsOption = None,
    json: JsonOption = None,
) -> None:
    """Stop a migration: the application goes on where it is, unless it serves there already."""

    async def call(asked: Asked) -> None:
        from tidegate.wire.card.v1 import migration_pb2

        request = migration_pb2.AbortMigrationRequest(name=_name(asked, migration))
        _told((await _stub(asked).AbortMigration(request)).migration, json)
        say("It is being stopped; 'tidegate card migrate watch' shows how it ends.")

    ask(address, certs, call, json, whichever="/" in migration)


@migrate_app.command("watch")
def watch(migration: MigrationArgument, address: AddressOption = None, certs: CertsOption = None) -> None:
    """Show a migration as it goes on, until its end; exit 1 where it does not succeed."""

    async def call(asked: Asked) -> None:
        ended = await _watched(asked, _name(asked, migration))
        console().print(migrations_table([ended]))
        _require_success(ended)

    ask(address, certs, call, whichever="/" in migration)


async def _watched(asked: Asked, name: str) -> migration_pb2.Migration:
    """Say each thing that happens once, and return how it ended."""
    from tidegate.wire.card.v1 import migration_pb2

    told, said = migration_pb2.Migration(), ""
    async for message in _stub(asked).WatchMigration(migration_pb2.WatchMigrationRequest(name=name)):
        told = message.migration
        phase = word(migration_pb2.MigrationPhase.Name(told.status.phase), "MIGRATION_PHASE_").plain
        line = f"{phase}: {told.status.reason}" if told.status.reason else phase
        if line != said:
            say(line)
            said = line
    return told


def _require_success(ended: migration_pb2.Migration) -> None:
    from tidegate.wire.card.v1 import migration_pb2

    if ended.status.phase != migration_pb2.MIGRATION_PHASE_SUCCEEDED:
        raise TidegateError(
            f"application {last(ended.spec.application)} did not move and serves where it was: "
            f"{ended.status.reason}"
        )


def _told(one: migration_pb2.Migration, json: JsonOption) -> None:
    write_json(json, one)
    console().print(migrations_table([one]))


def _stub(asked: Asked) -> migration_pb2_grpc.MigrationServiceAsyncStub:
    from tidegate.wire.card.v1 import migration_pb2_grpc

    return migration_pb2_grpc.MigrationServiceStub(asked.line)


def _name(asked: Asked, migration: str) -> str:
    from tidegate.wire.names import MigrationName, card_of

    if "/" in migration:
        return migration
    return str(MigrationName(card_of(asked.card), migration))


__all__ = ["migrate_app"]
