"""`tidegate models judge`: hold a model in shadow against whoever decides, and write down what came of it.

The work is done in `tidegate.lab.judging`; this asks for it and prints what comes back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from tidegate.app.artefacts import model_store
from tidegate.app.threads import one_blas_thread
from tidegate.cli.durations import duration_text, parse_duration_seconds
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.models import ModelsOption
from tidegate.cli.saying import say
from tidegate.cli.train import progress_bar
from tidegate.drivers.local.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.lab.judging import Judgement


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the model is called.")],
    traces: Annotated[
        list[Path],
        typer.Argument(metavar="TRACE...", help="Trace files, taken as one; they go on after what was seen."),
    ],
    step: Annotated[
        str | None, typer.Option(help="Time between samples, like 5m; must be the model's, as by default.")
    ] = None,
    models: ModelsOption = None,
    json: Annotated[Path | None, typer.Option(help="Write what came of it here, for machines.")] = None,
) -> None:
    """Judge a model in shadow on samples it has not seen, against what is active; `promote` goes by that."""
    check_writable(json)
    from tidegate.lab.judging import judge

    with progress_bar() as progress, one_blas_thread():
        judgement = judge(
            name,
            traces,
            model_store(models, SystemClock()),
            step_seconds=None if step is None else parse_duration_seconds(step),
            progress=progress,
        )
    if json is not None:
        write_atomically(json, msgspec.json.format(msgspec.json.encode(figures(judgement))))
    say(*_told(judgement))


def figures(judgement: Judgement) -> dict[str, object]:
    """Return what came of judging a model in the form that machines read."""
    card, record, said = judgement.card, judgement.record, judgement.verdict
    return {
        "name": card.name,
        "kind": card.kind,
        "resource": card.resource,
        "step_seconds": card.step_seconds,
        "horizon_seconds": judgement.horizon_seconds,
        "origins": judgement.origins,
        "learned_until": judgement.learned_until,
        "samples_learned": judgement.samples_learned,
        "record": record,
        "better": said.better,
        "why": said.why,
    }


def _told(judgement: Judgement) -> Iterator[str]:
    name, record, said = judgement.card.name, judgement.record, judgement.verdict
    whom = "what decides without a trained model" if record.against is None else f"'{record.against}'"
    if judgement.samples_learned:
        yield (
            f"Not counted: {judgement.samples_learned:,} samples up to {judgement.learned_until}, which were "
            "learned from."
        )
    yield (
        f"From {record.since} to {record.until}, {duration_text(judgement.horizon_seconds)} ahead from "
        f"{judgement.origins:,} moments: {record.samples:,} samples."
    )
    for who, loss_sum in ((f"'{name}'", record.loss_sum), (whom, record.active_loss_sum)):
        yield f"  loss {loss_sum:.4g}, {loss_sum / record.samples:.3g} per sample: {who}"
    if said.better:
        yield f"'{name}' is better: {said.why}."
        yield f"Next: 'tidegate models promote {name}' lets it decide."
    else:
        yield f"'{name}' stays in shadow: {said.why}."
        yield f"Next: judge it on a longer or newer trace, or 'tidegate models retire {name}'."


__all__ = ["command", "figures"]
