"""`tidegate certs`: the certificates that agents, devices and the fleet know each other by."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tidegate.app.state import state_folder
from tidegate.cli.doctor import printable
from tidegate.cli.files import check_writable, write_atomically
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.errors import InputError
from tidegate.wire.identities import Role

if TYPE_CHECKING:
    from cryptography import x509

    from tidegate.app.certificates import Authority, Listed
    from tidegate.ports import Clock

CERTIFICATES: Final = "certs"
"""Folder of the authority, among what Tidegate keeps."""
COLUMNS_MAX: Final = 1000
"""Width where nobody looks on, as of `| grep`: a certificate stays on one line."""

certs_app = typer.Typer(
    help="Certificates: an authority of your own, and whom it knows.", no_args_is_help=True
)

FolderOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The authority's folder; in $XDG_STATE_HOME/tidegate by default."),
]
JsonOption = Annotated[Path | None, typer.Option(help="Write what is there now here, for machines.")]
RoleOption = Annotated[Role, typer.Option(help="What it is for.")]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the server, the card, the cell or the person.")
]


@certs_app.callback()
def _certs() -> None:
    """Look after certificates."""


@certs_app.command("init")
def init(folder: FolderOption = None) -> None:
    """Make an authority: a key that stays where it is, and a certificate that all others hang on."""
    authority = _authority(folder)
    path = authority.init()
    _say(f"{path} holds the key of the authority: keep a copy of it offline, and show it to nobody.")
    _say("Next: 'tidegate certs issue --role device NAME', for each card, server and person.")


@certs_app.command("issue")
def issue(name: NameArgument, role: RoleOption, folder: FolderOption = None) -> None:
    """Make a key and a certificate for a program or a person, good for 90 days."""
    made = _authority(folder).issue(role, name)
    _say(f"{made} is complete: copy it to where {role.value} '{name}' runs, readable by nobody else.")


@certs_app.command("rotate")
def rotate(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Only these; by default those with 30 days or less left."),
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="All that are not revoked.")] = False,
    authority: Annotated[
        bool, typer.Option("--authority", help="Replace the authority; the one before stays believed.")
    ] = False,
    forget_old: Annotated[
        bool, typer.Option("--forget-old", help="Believe no authority but the one that signs now.")
    ] = False,
    folder: FolderOption = None,
) -> None:
    """Issue certificates anew before they end, or replace the authority without a gap."""
    if (authority, forget_old, everybody or bool(names)).count(True) > 1:
        raise InputError(
            "certificates, --authority and --forget-old are steps of their own; do one at a time"
        )
    kept = _authority(folder)
    if authority:
        kept.rotate_authority()
        _say("There is a new authority, and the one before is still believed. In this order:")
        _say(f"  1. copy {kept.folder / 'ca.pem'} into the folder of every program")
        _say("  2. 'tidegate certs rotate --all', and copy what it makes")
        _say("  3. 'tidegate certs rotate --forget-old', and copy ca.pem again")
        return
    if forget_old:
        count = kept.forget_old()
        _say(
            f"{count} older {_plural(count)} believed no more: copy ca.pem into the folder of every program."
        )
        return
    renewed = kept.rotate(names or (), everybody=everybody)
    if not renewed:
        _say("Nothing is due: all have more than 30 days left. Name some, or say --all.")
        return
    _table(renewed)
    _say("Copy these folders to where they belong; servers take them without being started again.")


@certs_app.command("revoke")
def revoke(name: NameArgument, role: RoleOption, folder: FolderOption = None) -> None:
    """Have what was issued to somebody refused from now on, before it ends."""
    path = _authority(folder).revoke(role, name)
    _say(f"Copy {path} into the folder of every device and fleet manager: they refuse it from then on.")


@certs_app.command("show")
def show(folder: FolderOption = None, json: JsonOption = None) -> None:
    """Show who has a certificate and how long it is good; also of a program's own folder."""
    from tidegate.app.certificates import listed, listed_folder
    from tidegate.app.certificates.listed import authorities_in
    from tidegate.wire.certificates import IDENTITY

    check_writable(json)
    clock: Clock = SystemClock()
    place = _place(folder)
    own = (place / IDENTITY).exists()
    if not own:
        _authority(folder).opened()
    authorities = authorities_in(place)
    found = [listed_folder(place, clock)] if own else listed(place, clock)
    if json is not None:
        shown = {"authorities": [_figures_of(one) for one in authorities], "issued": _figures(found)}
        write_atomically(json, msgspec.json.format(msgspec.json.encode(shown), indent=2) + b"\n")
    for number, one in enumerate(authorities):
        said = "believed" if own else ("signs" if number == 0 else "still believed")
        _say(f"{one.subject.rfc4514_string().removeprefix('CN=')}: {said}, until {_day(one)}")
    if found:
        _table(found)
    else:
        _say("Nothing was issued yet: 'tidegate certs issue --role device NAME'.")


def _authority(folder: Path | None) -> Authority:
    from tidegate.app.certificates import opened_authority

    return opened_authority(_place(folder), SystemClock())


def _place(folder: Path | None) -> Path:
    return state_folder() / CERTIFICATES if folder is None else folder


def _table(found: list[Listed]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("role", "name", "good until", "days left", "", "folder"):
        table.add_column(title, justify="right" if title == "days left" else "left", no_wrap=True)
    for one in found:
        role = "" if one.identity.role is None else one.identity.role.value
        colour = {"good": "green", "to be renewed": "yellow"}.get(one.standing.value, "red")
        table.add_row(
            role,
            one.identity.name,
            _day(one.certificate),
            str(one.days_left),
            Text(one.standing.value, colour),
            printable(str(one.folder)),
        )
    _console().print(table)


def _figures(found: list[Listed]) -> list[dict[str, object]]:
    return [
        {
            "role": "" if one.identity.role is None else one.identity.role.value,
            "name": one.identity.name,
            "standing": one.standing.value,
            "days_left": one.days_left,
            "ends_seconds": one.ends_seconds,
            "serial": f"{one.certificate.serial_number:x}",
            "folder": str(one.folder),
        }
        for one in found
    ]


def _figures_of(certificate: x509.Certificate) -> dict[str, object]:
    return {
        "name": certificate.subject.rfc4514_string().removeprefix("CN="),
        "ends_seconds": certificate.not_valid_after_utc.timestamp(),
    }


def _day(certificate: x509.Certificate) -> str:
    moment = datetime.fromtimestamp(certificate.not_valid_after_utc.timestamp(), UTC)
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _plural(count: int) -> str:
    return "authority is" if count == 1 else "authorities are"


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=COLUMNS_MAX)


def _say(sentence: str) -> None:
    _console().print(Text(printable(sentence)), soft_wrap=True)
