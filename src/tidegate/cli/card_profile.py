"""`tidegate card profile`: watches applications, and learns what CPU does for their latency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.cli.card_amounts import amount_of, amounts_text
from tidegate.cli.card_line import (
    WHICHEVER,
    AddressOption,
    Asked,
    CertsOption,
    JsonOption,
    NameArgument,
    ask,
    console,
    request_id,
    write_json,
)
from tidegate.cli.card_tables import curve_table, last, sample_cells, samples_table
from tidegate.cli.durations import parse_duration_seconds
from tidegate.cli.saying import say
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from tidegate.wire.card.v1 import profiling_pb2_grpc

profile_app = typer.Typer(help="Watch applications on a card.", no_args_is_help=True)


@profile_app.callback()
def _profile() -> None:
    """Watch applications."""


@profile_app.command("start")
def start(
    name: NameArgument,
    interval: Annotated[float, typer.Option(metavar="SECONDS", help="From one sample to the next.")] = 1.0,
    try_cpu: Annotated[
        str, typer.Option(metavar="CORES", help="Amounts of CPU to try one after the other, as 0.5,1,2.")
    ] = "",
    trial: Annotated[str, typer.Option(metavar="DURATION", help="How long each is tried.")] = "60s",
    address: AddressOption = None,
    certs: CertsOption = None,
    json: JsonOption = None,
) -> None:
    """Begin to watch an application, and try amounts of CPU if told to; it gets back what it held before."""
    tried = [_millis(part) for part in try_cpu.split(",") if part.strip()]
    seconds = parse_duration_seconds(trial)

    async def call(asked: Asked) -> None:
        from tidegate.wire.card.v1 import profiling_pb2

        request = profiling_pb2.CreateProfileRequest(
            parent=asked.application(name),
            spec=profiling_pb2.ProfileSpec(
                interval_nanoseconds=round(interval * 1e9),
                tried_cpu_millis=tried,
                trial_nanoseconds=seconds * 10**9,
            ),
            request_id=request_id(),
        )
        made = (await _stub(asked).CreateProfile(request)).profile
        write_json(json, made)
        trying = f", and {len(tried)} amounts of CPU are tried for {seconds} s each" if tried else ""
        say(f"Application {name} is watched every {interval:g} s{trying}.")

    ask(address, certs, call, json, whichever=True)


@profile_app.command("show")
def show(
    name: NameArgument, address: AddressOption = None, certs: CertsOption = None, json: JsonOption = None
) -> None:
    """Show what was learned of an application."""

    async def call(asked: Asked) -> None:
        from tidegate.wire.card.v1 import profiling_pb2

        request = profiling_pb2.GetProfileRequest(name=f"{asked.application(name)}/profile")
        profile = (await _stub(asked).GetProfile(request)).profile
        write_json(json, profile)
        status = profile.status
        shown = console()
        say(f"{status.samples} samples; highest within the hour: {amounts_text(status.peak)}.")
        if status.HasField("latest"):
            shown.print(samples_table([status.latest]))
        if status.curve:
            shown.print(curve_table(profile))
        if status.HasField("cpu_millis_for_sla"):
            say(f"The latency agreed on holds from {_cores(status.cpu_millis_for_sla)} on.")
        if status.trying:
            say("Amounts are being tried now.")

    ask(address, certs, call, json, whichever=True)


@profile_app.command("watch")
def watch(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One application; all by default.")
    ] = None,
    on_change: Annotated[
        bool, typer.Option("--on-change", help="Only when something changed by a hundredth of what is held.")
    ] = False,
    address: AddressOption = None,
    certs: CertsOption = None,
) -> None:
    """Show samples as they are taken, until Ctrl-C."""

    async def call(asked: Asked) -> None:
        from tidegate.wire.card.v1 import profiling_pb2

        mode = profiling_pb2.WATCH_MODE_ON_CHANGE if on_change else profiling_pb2.WATCH_MODE_SAMPLE
        parent = asked.card if name is None else asked.application(name)
        request = profiling_pb2.WatchProfileRequest(parent=parent, mode=mode)
        async for told in _stub(asked).WatchProfile(request):
            for sample in told.samples:
                if sample.missed:
                    say(f"({sample.missed} samples were missed here)")
                say("  ".join(str(cell) for cell in sample_cells(sample)))

    ask(address, certs, call, whichever=name is not None)


@profile_app.command("stop")
def stop(name: NameArgument, address: AddressOption = None, certs: CertsOption = None) -> None:
    """Watch an application no more; an amount that is tried is given back."""

    async def call(asked: Asked) -> None:
        from tidegate.wire.card.v1 import profiling_pb2

        request = profiling_pb2.DeleteProfileRequest(name=f"{asked.application(name)}/profile")
        await _stub(asked).DeleteProfile(request)
        where = "" if asked.card == WHICHEVER else f" on card {last(asked.card)}"
        say(f"Application {name}{where} is watched no more.")

    ask(address, certs, call, whichever=True)


def _stub(asked: Asked) -> profiling_pb2_grpc.ProfilingServiceAsyncStub:
    from tidegate.wire.card.v1 import profiling_pb2_grpc

    return profiling_pb2_grpc.ProfilingServiceStub(asked.line)


def _millis(cores: str) -> int:
    try:
        return round(float(cores) * 1000)
    except ValueError as error:
        raise InputError(f"{cores.strip()!r} is no number of cores; write amounts like 0.5,1,2") from error


def _cores(millis: int) -> str:
    from tidegate.wire.card.v1 import amounts_pb2

    return amount_of(amounts_pb2.Amounts(cpu_millis=millis), Resource.CPU)


__all__ = ["profile_app"]
