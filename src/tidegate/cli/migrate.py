"""`tidegate migrate`: moves a VM to another host while it runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console

from tidegate.app.moving import LINK_BYTES_PER_SECOND, forecast_of, way_of
from tidegate.cli.durations import parse_duration_seconds
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.migrate_options import (
    BandwidthOption,
    DowntimeOption,
    DryRunOption,
    FromOption,
    JsonOption,
    LedgerOption,
    LinkOption,
    NameOption,
    NotesOption,
    PostCopyOption,
    ReconcileOption,
    SharedStorageOption,
    ThroughOption,
    ToOption,
    VmArgument,
    WithinOption,
    XmlOption,
)
from tidegate.cli.saying import say
from tidegate.cli.turning import stopped_by_signals
from tidegate.drivers.libvirt.ledger import LEDGER_PATH
from tidegate.drivers.libvirt.moving.daemons import DaemonWay
from tidegate.drivers.libvirt.moving.mover import Mover, reconciled
from tidegate.drivers.libvirt.moving.notes import MOVES_PATH
from tidegate.drivers.libvirt.moving.orders import MoveOrder, MovePhase
from tidegate.drivers.libvirt.server import URI
from tidegate.model.byte_amounts import parse_bytes
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from rich.status import Status

    from tidegate.app.moving import Forecast
    from tidegate.drivers.libvirt.moving.mover import Reconciled
    from tidegate.drivers.libvirt.moving.orders import MoveRecord, Progress

MEASURE_SECONDS = 3


def command(
    vm: VmArgument = None,
    to: ToOption = "",
    source: FromOption = URI,
    bandwidth: BandwidthOption = "",
    link: LinkOption = "",
    downtime: DowntimeOption = 0.3,
    post_copy: PostCopyOption = "",
    within: WithinOption = "15m",
    shared_storage: SharedStorageOption = False,
    through: ThroughOption = "",
    xml: XmlOption = None,
    name: NameOption = "",
    reconcile: ReconcileOption = False,
    dry_run: DryRunOption = False,
    ledger: LedgerOption = LEDGER_PATH,
    notes: NotesOption = MOVES_PATH,
    json: JsonOption = None,
) -> None:
    """Move a VM to another host while it runs; Ctrl-C stops that, and it goes on where it is."""
    check_writable(json)
    if reconcile:
        _settle_all(notes)
        return
    if not vm or not to:
        raise InputError("say which VM, and where to: tidegate migrate VM --to qemu+ssh://HOST/system")
    order = MoveOrder(
        bytes_per_second_max=_speed(bandwidth, "--bandwidth", float("inf")),
        downtime_seconds_max=downtime,
        post_copy=bool(post_copy),
        post_copy_after_seconds=parse_duration_seconds(post_copy) if post_copy else 0.0,
        seconds_max=parse_duration_seconds(within),
        is_storage_shared=shared_storage,
    )
    way = DaemonWay(
        name=vm,
        source=source,
        target=to,
        uri=through,
        target_xml=_text(xml),
        target_name=name,
        ledger_path=ledger,
    )
    try:
        way.check(order)
        expected = forecast_of(
            way.measure(MEASURE_SECONDS), order, _speed(link, "--link", LINK_BYTES_PER_SECOND)
        )
        say(_forecast_text(vm, expected, order))
        record = None if dry_run else _moved(way, order, notes)
    finally:
        way.close()
    if json is not None:
        came = None if record is None else asdict(record) | {"phase": record.phase.value}
        content = msgspec.json.encode({"forecast": asdict(expected), "move": came})
        write_atomically(json, msgspec.json.format(content))
    if record is not None:
        _told(record)


def _moved(way: DaemonWay, order: MoveOrder, notes: Path) -> MoveRecord:
    """Move it, and show how that goes; the first Ctrl-C has it stopped."""
    with Console(stderr=True).status(f"moving {way.route.name}") as status, stopped_by_signals() as stop:

        def told(progress: Progress) -> None:
            _show(status, way.route.name, progress)

        return Mover(folder=notes, told=told, is_stopped=lambda: stop.name is not None).move(way, order)


def _show(status: Status, name: str, seen: Progress) -> None:
    slowed = f", slowed down by {seen.throttle_ratio:.0%}" if seen.throttle_ratio else ""
    status.update(
        f"moving {name}: {seen.phase.value}, round {seen.rounds}, {_megabytes(seen.bytes_sent)} sent, "
        f"{_megabytes(seen.bytes_left)} left, {_megabytes(seen.dirty_bytes_per_second)}/s rewritten{slowed}"
    )


def _forecast_text(name: str, expected: Forecast, order: MoveOrder) -> str:
    used, rewrites = _megabytes(expected.used_bytes), _megabytes(expected.dirty_bytes_per_second)
    about = f"{name} uses {used} and rewrites {rewrites}/s"
    if expected.seconds is None:
        rest = "it will be switched by post-copy" if order.post_copy else "slow it down, or allow --post-copy"
        return f"{about}: its move will not end by itself; {rest}."
    slowed = f", slowed down by up to {expected.throttle_ratio:.0%}" if expected.throttle_ratio else ""
    still = 1000 * (expected.downtime_seconds or 0)
    return (
        f"{about}: its move will take about {expected.seconds:.3g} s, "
        f"send {_megabytes(expected.bytes_sent or 0)} and stop it for {still:.0f} ms{slowed}."
    )


def _told(record: MoveRecord) -> None:
    """Say how it ended.

    Raises:
        TidegateError: it was not moved.

    """
    if record.phase is not MovePhase.SUCCEEDED:
        raise TidegateError(f"{record.name} was not moved and goes on where it was: {record.reason}")
    say(
        f"{record.name} runs at {record.target}: {record.seconds:.3g} s in all, "
        f"{record.memory_seconds:.3g} s for {_megabytes(record.bytes_sent)} in {record.rounds} rounds, "
        f"still for {1000 * record.downtime_seconds:.0f} ms."
    )


def _settle_all(notes: Path) -> None:
    found = reconciled(way_of, notes)
    for one in found:
        say(_settled_text(one))
    if not found:
        say(f"Nothing to put right: no move is noted in {notes} but what is under way.")
    left = [one.route.name for one in found if one.place is None]
    if left:
        raise TidegateError(f"could not be settled now, and stay noted in {notes}: {', '.join(left)}")


def _settled_text(one: Reconciled) -> str:
    if one.place is None:
        return f"{one.route.name}: {one.reason}"
    where = {"source": one.route.source, "target": one.route.target, "nowhere": "nowhere any more"}
    return f"{one.route.name} runs {'' if one.place.value == 'nowhere' else 'at '}{where[one.place.value]}"


def _text(path: Path | None) -> str:
    try:
        return "" if path is None else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--xml {path} can't be read ({error}); 'virsh dumpxml --migratable' makes one"
        ) from error


def _megabytes(amount: float) -> str:
    return f"{amount / 1e6:,.0f} MB"


def _speed(text: str, option: str, otherwise: float) -> float:
    if not text:
        return otherwise
    speed = float(parse_bytes(text))
    if speed <= 0:
        raise InputError(f"{option} {text} is no speed; give one like 100MB")
    return speed


__all__ = ["command"]
