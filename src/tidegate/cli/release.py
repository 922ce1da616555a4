"""`tidegate release`: gives the owner's settings back that a Tidegate which is gone had changed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from tidegate.app.servers import LOCAL, libvirt_uri
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.saying import say
from tidegate.drivers.libvirt.ledger import LEDGER_PATH as VMS_LEDGER_PATH
from tidegate.drivers.libvirt.server import release as release_vms
from tidegate.drivers.local.ledger import LEDGER_PATH, Released
from tidegate.drivers.local.server import release
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.drivers.libvirt.acting import Released as ReleasedVms


def command(
    vm: Annotated[str | None, typer.Argument(help="With libvirt: only this VM, by name or UUID.")] = None,
    driver: Annotated[
        str, typer.Option(help="Whose limits: local (cgroups), libvirt, or libvirt=URI.")
    ] = LOCAL,
    ledger: Annotated[Path | None, typer.Option(help="Where the owner's settings were written down.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write what was done here, for machines.")] = None,
) -> None:
    """Give back the limits that a crashed Tidegate had changed; does nothing where there are none."""
    check_writable(json)
    uri = libvirt_uri(driver)
    if uri is None and vm is not None:
        raise InputError(f"'{vm}' can be released by itself with --driver libvirt only; leave the name out")
    where = ledger or (LEDGER_PATH if uri is None else VMS_LEDGER_PATH)
    try:
        released = release(where) if uri is None else release_vms(uri, name=vm, ledger_path=where)
    except PermissionError as error:
        raise InputError(
            f"the ledger {where} can't be read; run as root, or name another with --ledger"
        ) from error
    if json is not None:
        content = msgspec.json.encode({"ledger": str(where), **asdict(released)})
        write_atomically(json, msgspec.json.format(content))
    lines = sentences(released, where) if isinstance(released, Released) else vm_sentences(released, where)
    say(*lines)
    refused = () if isinstance(released, Released) else released.refused
    if refused:
        raise TidegateError(f"could not be given back now, and stay noted in {where}: {', '.join(refused)}")


def sentences(released: Released, ledger: Path) -> Iterator[str]:
    """Say what became of every setting that had been changed."""
    yield from _grouped(
        (released.restored, "given back to their owner"),
        (released.left, "left as they are: their owner changed them meanwhile"),
        (released.gone, "gone with their cgroup"),
    )
    if released.discarded:
        yield f"The ledger {ledger} was of an earlier boot; its limits ended with that."
    elif not (released.restored or released.left or released.gone):
        yield f"Nothing to give back: no limit is noted in {ledger}."


def vm_sentences(released: ReleasedVms, ledger: Path) -> Iterator[str]:
    """Say what became of every setting of a VM that had been changed."""
    groups = (
        (released.restored, "given back to their owner"),
        (released.left, "left as they are: their owner changed them meanwhile"),
        (released.gone, "gone: their VM was stopped, or started anew"),
    )
    yield from _grouped(*groups)
    if not any(names for names, _ in groups) and not released.refused:
        yield f"Nothing to give back: no setting of a VM is noted in {ledger}."


def _grouped(*groups: tuple[tuple[str, ...], str]) -> Iterator[str]:
    for names, became in groups:
        if names:
            yield f"{len(names)} {became}:"
            yield from (f"  {name}" for name in names)


__all__ = ["command", "sentences"]
