"""`tidegate bench`: how fast and how good it is on this machine, beside limits and peers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tidegate.app.threads import one_blas_thread
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.numbers import checked_seed
from tidegate.cli.policy_names import parse_policies
from tidegate.lab.bench.forecast.asked import ORIGINS, PARTS, Asked
from tidegate.lab.bench.result import Benchmark, Row
from tidegate.model.errors import InputError, TidegateError

SIZES = "1000,10000,100000,1000000"
WORKLOADS_MAX = 10_000_000
AREAS = ("device", "forecast", "gpu", "live", "migration", "replay", "soak", "tick", "vm")


def command(
    area: Annotated[str, typer.Argument(help=f"What to measure: {', '.join(AREAS)}.")],
    workloads: Annotated[str, typer.Option(help="tick: numbers of workloads, comma-separated.")] = SIZES,
    policy: Annotated[str | None, typer.Option(help="tick: the policy; replay: policies.")] = None,
    trace: Annotated[
        list[Path] | None,
        typer.Option(
            help="forecast: a trace, by default Bitbrains from $TIDEGATE_TRACES, else made up; "
            "soak: one month after the other."
        ),
    ] = None,
    only: Annotated[
        str | None, typer.Option(help=f"forecast: parts, comma-separated, of {', '.join(PARTS)}.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="forecast: models beside the engine; all installed by default.")
    ] = None,
    vms: Annotated[int | None, typer.Option(help="forecast: of so many VMs of the trace.", min=1)] = None,
    origins: Annotated[
        int, typer.Option(help="forecast: from how many moments to look ahead.", min=1)
    ] = ORIGINS,
    processes: Annotated[
        int | None, typer.Option(help="forecast: processes to use; all cores by default.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0, callback=checked_seed)] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the figures here, for machines.")] = None,
) -> None:
    """Measure an AREA and print each figure beside its limit; asserts nothing."""
    check_writable(json)
    with Console(stderr=True).status(f"measuring {area}") as status, one_blas_thread():

        def progress(what: str, done: int, whole: int) -> None:
            status.update(f"measuring {area}: {what}, {done} of {whole}")

        if area == "forecast":
            asked = Asked(
                traces=tuple(trace or ()),
                parts=_parts(only),
                models=None if model is None else _names(model, "--model"),
                vms=vms,
                origins=origins,
                seed=seed,
                processes=processes,
            )
            result = _forecast(asked, progress)
        else:
            result = _measured(area, workloads, policy, trace or [], seed=seed, progress=progress)
    if json is not None:
        write_atomically(json, msgspec.json.format(msgspec.json.encode(result)))
    Console().print(_table(result))
    for note in result.notes:
        Console().print(Text(note))
    if result.failures:
        raise TidegateError(f"{'; '.join(result.failures)}; the other figures are whole")


def _forecast(asked: Asked, progress: Callable[[str, int, int], None]) -> Benchmark:
    from tidegate.lab.bench.forecast.measure import bench_forecast

    archive = os.environ.get("TIDEGATE_TRACES")
    return bench_forecast(asked, archive=Path(archive) if archive else None, progress=progress)


def _parts(text: str | None) -> tuple[str, ...]:
    parts = PARTS if text is None else _names(text, "--only")
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise InputError(f"--only names unknown parts: {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    return parts


def _names(text: str, option: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise InputError(f"{option} names nothing; give one or more, comma-separated")
    return names


def _measured(  # noqa: PLR0911 - a table of areas
    area: str,
    workloads: str,
    policy: str | None,
    traces: list[Path],
    *,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> Benchmark:
    match area:
        case "live":
            from tidegate.lab.bench.live import bench_live

            return bench_live(seed=seed, progress=progress)
        case "device":
            from tidegate.lab.bench.device.measure import bench_device

            return bench_device(seed=seed, progress=progress)
        case "migration":
            from tidegate.lab.bench.migration import bench_migration

            return bench_migration(seed=seed, progress=progress)
        case "gpu":
            from tidegate.lab.bench.gpu import bench_gpu

            return bench_gpu(seed=seed, progress=progress)
        case "vm":
            from tidegate.lab.bench.vm import bench_vm

            return bench_vm(seed=seed, progress=progress)
        case "tick":
            from tidegate.lab.bench.tick import bench_tick

            return bench_tick(
                _sizes(workloads), policy_name="tidegate" if policy is None else policy, seed=seed
            )
        case "replay":
            from tidegate.lab.bench.replay import POLICIES, bench_replay

            return bench_replay(POLICIES if policy is None else parse_policies(policy), seed=seed)
        case "soak":
            from tidegate.lab.bench.soak import bench_soak

            return bench_soak(traces, seed=seed, progress=progress)
        case _:
            raise InputError(f"unknown area '{area}'; choose from {', '.join(AREAS)}")


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"--workloads '{text}' is no list of whole numbers; for example 1000,100000"
        ) from error
    if not all(1 <= size <= WORKLOADS_MAX for size in sizes):
        raise InputError(f"--workloads '{text}' must lie between 1 and {WORKLOADS_MAX}")
    return sizes


def _table(result: Benchmark) -> Table:
    about = ", ".join(f"{name} {value}" for name, value in result.machine.items())
    table = Table(title=f"{result.area} ({about})", title_justify="left")
    for heading in ("figure", "value", "unit", "limit", "holds"):
        justify: Literal["left", "right"] = "left" if heading in {"figure", "unit"} else "right"
        table.add_column(heading, justify=justify, overflow="fold")
    for row in result.rows:
        table.add_row(row.name, f"{row.value:,.4g}", row.unit, *_verdict(row))
    return table


def _verdict(row: Row) -> tuple[str, str]:
    if row.limit is None:
        return "-", "-"
    bound = "<=" if row.direction == "max" else ">="
    return f"{bound} {row.limit:,.4g}", "yes" if row.holds else "no"
