"""`tidegate train`: teach a model from traces and keep it as a candidate.

The work is done in `tidegate.lab.training`; this asks for it and prints what comes back.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich import progress as bars
from rich.console import Console
from rich.text import Text

from tidegate.app.artefacts import Stage, model_store
from tidegate.app.threads import one_blas_thread
from tidegate.cli.doctor import printable
from tidegate.cli.durations import duration_text, parse_duration_seconds
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.models import ModelsOption
from tidegate.cli.numbers import checked_seed
from tidegate.cli.resource_names import parse_resources
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tidegate.app.artefacts import Card
    from tidegate.model.resources import Resource


def command(
    traces: Annotated[list[Path], typer.Argument(metavar="TRACE...", help="Trace files, taken as one.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="NAME", help="What to call the model.")],
    model: Annotated[str | None, typer.Option(metavar="KIND", help="What to train, like lstm.")] = None,
    agent: Annotated[str | None, typer.Option(help="Not yet: agents that learn to decide.")] = None,
    resource: Annotated[str, typer.Option(help="The resource whose use it forecasts.")] = "cpu",
    step: Annotated[
        str | None, typer.Option(help="Time between samples, like 5m; inferred if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0, callback=checked_seed)] = 0,
    notes: Annotated[str, typer.Option(help="Anything worth remembering, kept on its card.")] = "",
    models: ModelsOption = None,
    json: Annotated[Path | None, typer.Option(help="Write the model's card here, for machines.")] = None,
) -> None:
    """Train a model on traces but their last days, score it on those, and keep it as a candidate."""
    if agent is not None:
        raise InputError("--agent can't be trained yet; train a forecaster with --model KIND")
    if model is None:
        raise InputError("nothing says what to train; name a kind, such as --model lstm")
    check_writable(json)
    from tidegate.lab.training import Lesson, train

    lesson = Lesson(
        name=out,
        kind=model,
        traces=tuple(traces),
        resource=_one_resource(resource),
        step_seconds=None if step is None else parse_duration_seconds(step),
        seed=seed,
        notes=notes,
    )
    store = model_store(models, SystemClock())
    with progress_bar() as progress, one_blas_thread():
        card = train(lesson, store, progress=progress)
    if json is not None:
        write_atomically(json, msgspec.json.format(msgspec.json.encode(card)))
    _tell(card)


def _one_resource(text: str) -> Resource:
    first, *others = parse_resources(text)
    if others:
        raise InputError(
            f"a model forecasts one resource; train one for {first.label} and one for the others"
        )
    return first


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar on stderr, where there is a person to see it, and take it away at the end."""
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TextColumn("{task.fields[parts]}"),
        bars.TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with bars.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None, parts="")

        def progress(what: str, done: int, total: int) -> None:
            # Of 0 nobody knows how long it takes: the bar pulses.
            parts = f"{done} of {total}" if total else ""
            bar.update(task, description=what, completed=done, parts=parts)
            bar.tasks[0].total = total or None

        yield progress


def _tell(card: Card) -> None:
    console = Console(highlight=False)
    lines = [f"'{card.name}' is trained and kept as a {Stage.CANDIDATE} ({card.kind}, {card.resource})."]
    for score in card.scores:
        if score.wql is not None:
            mase = "" if score.mase_median is None else f", MASE {score.mase_median:.3f}"
            lines.append(f"  {duration_text(score.horizon_seconds)} ahead: WQL {score.wql:.3f}{mase}")
    lines.append(f"Next: 'tidegate models show {card.name}', 'tidegate models promote {card.name}'.")
    for line in lines:
        console.print(Text(printable(line)), soft_wrap=not console.is_terminal)


__all__ = ["command", "progress_bar"]
