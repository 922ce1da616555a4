"""What a device says, as tables that people read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from tidegate.cli.card_amounts import FIELDS, amount_of, amounts_text
from tidegate.cli.doctor import printable
from tidegate.model.resources import Resource
from tidegate.wire.card.v1 import (
    adjustment_pb2,
    amounts_pb2,
    application_pb2,
    card_pb2,
    migration_pb2,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tidegate.wire.card.v1 import profiling_pb2

GOOD = frozenset({"running", "ready", "applied", "succeeded"})
BAD = frozenset({"failed", "degraded", "refused", "timed out", "rolled back", "aborted", "unreachable"})


def last(name: str) -> str:
    """Return the last part of a resource name."""
    return name.rpartition("/")[2]


def word(enum_name: str, prefix: str) -> Text:
    """Return the word that an enum's name stands for, coloured."""
    text = enum_name.removeprefix(prefix).lower().replace("_", " ")
    return Text(text, "green" if text in GOOD else "red" if text in BAD else "yellow")


def card_table(card: card_pb2.Card) -> Table:
    """Return a card: what it has, what is given, what is used."""
    status = card.status
    table = _table("resource", "has", "system keeps", "to give", "given", "used", "left", right=6)
    for resource in FIELDS:
        if amount_of(status.capacity, resource) == "-" and amount_of(status.allocated, resource) == "-":
            continue
        amounts = [status.capacity, status.system_reserved, status.allocatable, status.allocated, status.used]
        cells = [amount_of(amount, resource) for amount in amounts]
        table.add_row(resource.label, *cells, amount_of(_left(status), resource))
    return table


def cards_table(cards: Iterable[card_pb2.Card]) -> Table:
    """Return several cards, a row each."""
    table = _table("card", "phase", "to give", "given", "fullest link")
    for card in cards:
        phase = word(card_pb2.CardPhase.Name(card.status.phase), "CARD_PHASE_")
        given = [amounts_text(card.status.allocatable), amounts_text(card.status.allocated)]
        table.add_row(_text(last(card.name)), phase, *given, _text(_fullest(card.status.links)))
    return table


def _fullest(links: Iterable[card_pb2.LinkStatus]) -> str:
    """Return the link of which least is left of what it carries."""
    known = [one for one in links if one.HasField("headroom_bytes_per_second")]
    if not known:
        return "-"
    one = min(known, key=lambda link: link.headroom_bytes_per_second / max(link.capacity_bytes_per_second, 1))
    left, carries = rate(one.headroom_bytes_per_second), rate(one.capacity_bytes_per_second)
    return f"{one.peer}: {left} left of {carries}"


def rate(bytes_per_second: float) -> str:
    """Return a rate as people read it."""
    return f"{bytes_per_second / 1e6:.3g} MB/s"


def conditions(found: Iterable[amounts_pb2.Condition]) -> list[Text]:
    """Return the facts that are not as they should be, a line each."""
    return [
        Text(printable(f"{one.type}: {one.message}"), "red")
        for one in found
        if one.truth in {amounts_pb2.TRUTH_FALSE, amounts_pb2.TRUTH_UNKNOWN} and one.message
    ]


def servers_table(servers: Iterable[card_pb2.ServerStatus]) -> Table:
    """Return the servers that a card serves, a row each."""
    table = _table("server", "score", "workloads", "heard", "because")
    for one in servers:
        heard = "lost" if one.lost else instant(one.heard_nanoseconds)
        table.add_row(
            _text(one.server), f"{one.score:.0f}", str(one.workloads), _text(heard), _text(one.reason)
        )
    return table


def links_table(links: Iterable[card_pb2.LinkStatus]) -> Table:
    """Return the links of a card, a row each."""
    table = _table("link to", "round trip", "jitter", "lost", "carries", "says", "in use", "left", "by us")
    for one in links:
        probed = bool(one.measured_nanoseconds)
        table.add_row(
            _text(one.peer),
            milliseconds(one.latency_nanoseconds) if probed else "-",
            milliseconds(one.jitter_nanoseconds) if probed else "-",
            f"{one.loss_ratio:.1%}" if probed else "-",
            _rate_of(one, "capacity_bytes_per_second"),
            card_pb2.CapacityFrom.Name(one.capacity_from).removeprefix("CAPACITY_FROM_").lower()
            if one.capacity_from
            else "-",
            _rate_of(one, "used_bytes_per_second"),
            _rate_of(one, "headroom_bytes_per_second"),
            _text(", ".join(map(_use, one.uses)) or "-"),
        )
    return table


def _rate_of(link: card_pb2.LinkStatus, field: str) -> str:
    return rate(getattr(link, field)) if link.HasField(field) else "-"  # type: ignore[arg-type] # one of its own


def _use(one: card_pb2.LinkUse) -> str:
    what = word(card_pb2.LinkConsumer.Name(one.consumer), "LINK_CONSUMER_").plain
    busier = max(one.received_bytes_per_second, one.sent_bytes_per_second)
    return f"{what}{f' of {one.about}' if one.about else ''} {rate(busier)}"


def applications_table(applications: Iterable[application_pb2.Application]) -> Table:
    """Return applications, a row each."""
    table = _table("application", "card", "state", "epoch", "holds", "uses", "p99", "restarts", "addresses")
    for one in applications:
        status = one.status
        table.add_row(
            _text(last(one.name)),
            _text(one.name.split("/")[1]),
            word(application_pb2.ApplicationState.Name(status.state), "APPLICATION_STATE_"),
            str(status.epoch),
            amounts_text(status.held),
            amounts_text(status.used),
            milliseconds(status.latency_p99_nanoseconds)
            if status.HasField("latency_p99_nanoseconds")
            else "-",
            str(status.restarts),
            _text(", ".join(status.addresses) or "-"),
        )
    return table


def adjustments_table(adjustments: Iterable[adjustment_pb2.Adjustment]) -> Table:
    """Return adjustments, a row each."""
    table = _table("asked at", "phase", "requested", "accepted", "in force", "until", "why")
    for one in adjustments:
        table.add_row(
            instant(one.requested_nanoseconds),
            word(adjustment_pb2.AdjustmentPhase.Name(one.phase), "ADJUSTMENT_PHASE_"),
            amounts_text(one.requested),
            amounts_text(one.accepted),
            amounts_text(one.applied),
            instant(one.expires_nanoseconds),
            _text(one.reason or "-"),
        )
    return table


def migrations_table(migrations: Sequence[migration_pb2.Migration]) -> Table:
    """Return migrations, a row each."""
    headings = ("migration", "application", "to", "how", "epoch", "phase", "state", "pause", "began", "why")
    table = _table(*headings)
    for one in migrations:
        status = one.status
        moved = f"{status.bytes_moved:,} of {status.bytes_total:,} B" if status.bytes_total else "-"
        table.add_row(
            _text(last(one.name)),
            _text(last(one.spec.application)),
            _text(last(one.spec.target)),
            migration_pb2.Strategy.Name(status.strategy).removeprefix("STRATEGY_").lower(),
            str(one.spec.epoch),
            word(migration_pb2.MigrationPhase.Name(status.phase), "MIGRATION_PHASE_"),
            moved,
            milliseconds(status.pause_nanoseconds) if status.pause_nanoseconds else "-",
            instant(status.began_nanoseconds),
            _text(status.reason or one.spec.reason or "-"),
        )
    return table


def samples_table(samples: Iterable[profiling_pb2.Sample]) -> Table:
    """Return samples, a row each."""
    table = _table("application", "at", "uses", "holds", "throttled", "p99", "requests")
    for one in samples:
        table.add_row(*sample_cells(one))
    return table


def sample_cells(one: profiling_pb2.Sample) -> list[Text | str]:
    """Return what is told of one sample."""
    return [
        _text(last(one.application)),
        instant(one.time_nanoseconds),
        amounts_text(one.used),
        amounts_text(one.held),
        milliseconds(one.throttled_nanoseconds),
        milliseconds(one.latency_p99_nanoseconds) if one.HasField("latency_p99_nanoseconds") else "-",
        str(one.requests) if one.HasField("requests") else "-",
    ]


def curve_table(profile: profiling_pb2.Profile) -> Table:
    """Return what was learned of CPU and latency."""
    table = _table("cpu", "p99", "requests/s", right=3)
    for point in profile.status.curve:
        table.add_row(
            amount_of(amounts_pb2.Amounts(cpu_millis=point.cpu_millis), Resource.CPU),
            milliseconds(point.latency_p99_nanoseconds),
            f"{point.requests_per_kilosecond / 1000:.3g}",
        )
    return table


def milliseconds(nanoseconds: int) -> str:
    """Return a short time as people read it."""
    return f"{nanoseconds / 1e6:.3g} ms" if nanoseconds < 10**9 else f"{nanoseconds / 1e9:.3g} s"


def instant(nanoseconds: int) -> str:
    """Return a time in UTC to the second; a dash for none."""
    if not nanoseconds:
        return "-"
    return f"{datetime.fromtimestamp(nanoseconds // 10**9, UTC):%Y-%m-%d %H:%M:%S}"


def _left(status: card_pb2.CardStatus) -> amounts_pb2.Amounts:
    left = amounts_pb2.Amounts()
    for field, amount in status.allocatable.ListFields():
        setattr(left, field.name, max(amount - getattr(status.allocated, field.name), 0))
    return left


def _table(*headings: str, right: int = 0) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place > len(headings) - 1 - right else "left")
    return table


def _text(text: str) -> Text:
    return Text(printable(text))


__all__ = [
    "adjustments_table",
    "applications_table",
    "card_table",
    "cards_table",
    "conditions",
    "curve_table",
    "last",
    "migrations_table",
    "sample_cells",
    "samples_table",
    "word",
]
