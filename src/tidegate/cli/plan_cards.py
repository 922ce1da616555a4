"""`tidegate plan show --address`: which application belongs on which card, as a fleet manager plans it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from tidegate.cli.card_amounts import amounts_text
from tidegate.cli.card_line import WHICHEVER, Asked, ask, console, plain
from tidegate.cli.card_tables import instant, last, milliseconds
from tidegate.cli.doctor import printable
from tidegate.cli.files import write_atomically
from tidegate.cli.saying import say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tidegate.wire.card.v1 import plan_pb2

PAGES_MAX: Final = 1000


def show_cards(
    address: str,
    certs: Path | None,
    json: Path | None,
    *,
    pattern: str = "*",
    changed: bool = False,
    rows_max: int | None = None,
) -> None:
    """Show the plan of a fleet manager; ``changed``: only who goes somewhere, or can't.

    Raises:
        InputError: nobody plans there, or the address is none.
        TidegateError: nothing is planned yet, or nobody answers.

    """

    async def call(asked: Asked) -> None:
        from tidegate.wire.card.v1 import plan_pb2, plan_pb2_grpc

        found: list[plan_pb2.PlannedApplication] = []
        request, planned = plan_pb2.ListPlannedApplicationsRequest(parent=WHICHEVER), 0
        stub = plan_pb2_grpc.PlanServiceStub(asked.line)
        for _ in range(PAGES_MAX):
            answer = await stub.ListPlannedApplications(request)
            found += answer.applications
            planned, request.page_token = answer.planned_nanoseconds, answer.next_page_token
            if not request.page_token:
                break
        rows = [one for one in found if fnmatchcase(one.application, pattern)]
        rows = [one for one in rows if not changed or one.card != one.target or one.move]
        if json is not None:
            said = {"planned_nanoseconds": planned, "rows": [plain(one) for one in rows]}
            write_atomically(json, msgspec.json.format(msgspec.json.encode(said)))
        kept = rows[:rows_max]
        say(f"The plan of {len(asked.cards)} cards as of {instant(planned)} UTC")
        console().print(plan_table(kept))
        going = sum(one.card != one.target for one in found)
        more = f"; {len(rows) - len(kept)} more rows with --all" if len(kept) < len(rows) else ""
        say(f"{going} of {len(found)} applications are to go to another card{more}")

    ask(address, certs, call, json, whichever=True)


def plan_table(rows: Sequence[plan_pb2.PlannedApplication]) -> Table:
    """Return planned applications, a row each."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("application", "on", "goes to", "how", "pause", "pays back", "needs", "may hold", "why"):
        table.add_column(heading, overflow="fold")
    for one in rows:
        table.add_row(*cells(one))
    return table


def cells(one: plan_pb2.PlannedApplication) -> list[Text | str]:
    """Return what is told of one planned application."""
    from tidegate.wire.card.v1 import migration_pb2

    goes = one.HasField("expected_pause_nanoseconds")
    strategy = migration_pb2.Strategy.Name(one.strategy).removeprefix("STRATEGY_").lower()
    back = "must go" if not one.pay_back_nanoseconds else milliseconds(one.pay_back_nanoseconds)
    return [
        Text(printable(one.application)),
        Text(printable(last(one.card) or "-")),
        _goes(one),
        strategy if goes else "-",
        milliseconds(one.expected_pause_nanoseconds) if goes else "-",
        back if one.HasField("pay_back_nanoseconds") else "-",
        amounts_text(one.need),
        amounts_text(one.budget),
        Text(printable(one.reason)),
    ]


def _goes(one: plan_pb2.PlannedApplication) -> Text:
    """Return where it goes, and whether that is done."""
    from tidegate.wire.card.v1 import plan_pb2

    if not one.target:
        return Text("no card", "red")
    target = printable(last(one.target))
    match one.move:
        case plan_pb2.PLANNED_MOVE_UNDER_WAY:
            return Text(f"{target}, under way", "yellow")
        case plan_pb2.PLANNED_MOVE_WISHED:
            return Text("stays, though wished", "yellow")
        case _:
            return Text(target, "green") if one.card != one.target else Text("-")


__all__ = ["plan_table", "show_cards"]
