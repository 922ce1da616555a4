"""`tidegate release`: gives the owner's settings back that a Tidegate which is gone had changed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from tidegate.cli.doctor import printable
from tidegate.cli.files import check_writable, write_atomically
from tidegate.drivers.local.ledger import LEDGER_PATH
from tidegate.drivers.local.server import release
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.drivers.local.ledger import Released


def command(
    ledger: Annotated[Path, typer.Option(help="Where the owner's settings were written down.")] = LEDGER_PATH,
    json: Annotated[Path | None, typer.Option(help="Write what was done here, for machines.")] = None,
) -> None:
    """Give back the limits that a crashed Tidegate had changed; does nothing where there are none."""
    check_writable(json)
    try:
        released = release(ledger)
    except PermissionError as error:
        raise InputError(
            f"the ledger {ledger} can't be read; run as root, or name another with --ledger"
        ) from error
    if json is not None:
        content = msgspec.json.encode({"ledger": str(ledger), **asdict(released)})
        write_atomically(json, msgspec.json.format(content))
    console = Console()
    for line in sentences(released, ledger):
        console.print(Text(printable(line)), soft_wrap=not console.is_terminal)


def sentences(released: Released, ledger: Path) -> Iterator[str]:
    """Say what became of every setting that had been changed."""
    groups = (
        (released.restored, "given back to their owner"),
        (released.left, "left as they are: their owner changed them meanwhile"),
        (released.gone, "gone with their cgroup"),
    )
    for files, became in groups:
        if files:
            yield f"{len(files)} {became}:"
            yield from (f"  {file}" for file in files)
    if released.discarded:
        yield f"The ledger {ledger} was of an earlier boot; its limits ended with that."
    elif not any(files for files, _ in groups):
        yield f"Nothing to give back: no limit is noted in {ledger}."


__all__ = ["command", "sentences"]
