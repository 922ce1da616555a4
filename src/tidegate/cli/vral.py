"""`tidegate vral`: what the VMs of this server hold on lease, and leases in a VM's name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tidegate.agents.vral.channels import OPERATOR_SOCKET
from tidegate.cli.amounts import amount_text
from tidegate.cli.doctor import printable
from tidegate.cli.durations import parse_duration_seconds
from tidegate.cli.files import check_writable, write_atomically
from tidegate.guest.tidegate_vral import Vral, VralError
from tidegate.model.byte_amounts import parse_bytes
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path("/run/tidegate/vral")
INPUT_CODES = frozenset({"invalid", "not_found", "conflict", "unsupported"})

FolderOption = Annotated[
    Path, typer.Option("--vral", metavar="DIR", help="The folder that 'tidegate agent --vral' serves.")
]
JsonOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write what the agent said here, for machines.")
]
VmArgument = Annotated[str, typer.Argument(metavar="VM", help="Whose lease, by the VM's name.")]

vral_app = typer.Typer(
    help="Leases of this server's VMs: what each holds, how healthy, until when, and where it is served.",
    no_args_is_help=True,
)


@vral_app.command("list")
def list_(vral: FolderOption = FOLDER, json: JsonOption = None) -> None:
    """List all leases; unlike guests, you see where each is served."""
    check_writable(json)
    leases: list[dict[str, Any]] = _asked(vral, lambda agent: agent.list())
    _written(json, {"leases": leases})
    console = Console()
    if not leases:
        console.print("No VM holds a lease.")
        return
    table = Table()
    for heading in ("VM", "lease", "kind", "amount", "health", "class", "expires in", "served by"):
        table.add_column(heading, overflow="fold")
    for one in sorted(leases, key=lambda lease: (lease["vm"], lease["lease"])):
        table.add_row(*map(Text, map(printable, _cells(one))))
    console.print(table)


@vral_app.command()
def claim(
    vm: VmArgument,
    kind: Annotated[str, typer.Argument(help="cpu, memory, gpu, network or storage.")],
    wanted: Annotated[str, typer.Argument(help="Cores, bytes as 2GiB, or bytes a second.")],
    least: Annotated[str | None, typer.Option("--min", help="Less is of no use; by default all.")] = None,
    burst: Annotated[str | None, typer.Option(help="Most it may grow to by itself.")] = None,
    ttl: Annotated[str, typer.Option(help="How long it holds, like 1m.")] = "1m",
    near: Annotated[bool, typer.Option("--near", help="Not behind a link.")] = False,
    may_be_slower: Annotated[bool, typer.Option("--may-be-slower", help="Slower will do.")] = False,
    vral: FolderOption = FOLDER,
    json: JsonOption = None,
) -> None:
    """Claim in a VM's name; where neither card nor host has it, says what is missing."""
    check_writable(json)
    fields = {"min": None if least is None else parse_bytes(least)}
    fields["burst"] = None if burst is None else parse_bytes(burst)
    lease = _asked(
        vral,
        lambda agent: agent.claim(
            kind,
            parse_bytes(wanted),
            vm=vm,
            ttl_seconds=float(parse_duration_seconds(ttl)),
            near=near,
            may_be_slower=may_be_slower,
            **fields,
        ),
    )
    _written(json, {"lease": lease})
    Console().print(Text(printable(_sentence(vm, lease))))


@vral_app.command()
def release(
    vm: VmArgument,
    lease: Annotated[str, typer.Argument(metavar="LEASE", help="The lease, as listed.")],
    vral: FolderOption = FOLDER,
) -> None:
    """Give a lease back in a VM's name."""
    _asked(vral, lambda agent: agent.ask("release", vm=vm, lease=lease))
    Console().print(Text(printable(f"{vm} gave {lease} back.")))


def _asked(folder: Path, call: Callable[[Vral], Any]) -> Any:  # noqa: ANN401 - what JSON holds
    try:
        with Vral(str(folder / OPERATOR_SOCKET)) as agent:
            return call(agent)
    except VralError as error:
        if error.code == "no_channel":
            raise InputError(
                f"no agent serves VRAL in {folder}; start one with 'tidegate agent --vral {folder}', or name "
                "its folder with --vral"
            ) from error
        kind = InputError if error.code in INPUT_CODES else TidegateError
        raise kind(str(error)) from error


def _written(path: Path | None, content: dict[str, Any]) -> None:
    if path is not None:
        write_atomically(path, msgspec.json.format(msgspec.json.encode(content)))


def _sentence(vm: str, lease: dict[str, Any]) -> str:
    resource = Resource[lease["kind"].upper()]
    short = f", {amount_text(lease['short'], resource)} less than wanted" if lease["short"] else ""
    return (
        f"{vm} holds {lease['lease']}: {amount_text(lease['amount'], resource)} of {lease['kind']}{short}, "
        f"{lease['health']}, for {lease['expires_in_seconds']:.0f} s."
    )


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    resource = Resource[one["kind"].upper()]
    served = ", ".join(f"{where} {amount_text(amount, resource)}" for where, amount in one["served"].items())
    expires = f"{one['expires_in_seconds']:.0f} s"
    amount = amount_text(one["amount"], resource)
    return (
        one["vm"],
        one["lease"],
        one["kind"],
        amount,
        one["health"],
        str(one["class"]),
        expires,
        served,
    )
