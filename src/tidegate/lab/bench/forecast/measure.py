"""How good forecasts are here and what they bring: the engine beside its members, in replays, with feeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.lab.bench.forecast.asked import PARTS, Answer, Asked
from tidegate.lab.bench.forecast.data import about, trace_of
from tidegate.lab.bench.forecast.feeds import feed_answer
from tidegate.lab.bench.forecast.league import check_members, league_answer
from tidegate.lab.bench.forecast.one_tick import tick_answer
from tidegate.lab.bench.forecast.savings import replay_answer
from tidegate.lab.bench.forecast.speed import lstm_answer
from tidegate.lab.bench.result import Benchmark, machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def bench_forecast(
    asked: Asked, *, archive: Path | None = None, progress: Callable[[str, int, int], None]
) -> Benchmark:
    """Measure the parts that were asked for; ``archive`` is the folder of recorded traces, if there is one.

    ``progress`` is told what is done, how much of it, and of how much.

    Raises:
        InputError: a model is unknown or can't run, or the data are too short.

    """
    check_members(asked)
    answers, said = [], {}
    if set(asked.parts) & {"league", "replay", "feeds"}:
        progress("data", 0, 1)
        trace = trace_of(asked, archive)
        said = about(trace)
        with_data = {"league": league_answer, "replay": replay_answer, "feeds": feed_answer}
        answers += [
            answer(trace, asked, progress) for part, answer in with_data.items() if part in asked.parts
        ]
    alone = {"lstm": lstm_answer, "tick": tick_answer}
    answers += [answer(asked, progress) for part, answer in alone.items() if part in asked.parts]
    return Benchmark(
        area="forecast",
        machine=machine() | said,
        seed=asked.seed,
        rows=tuple(row for answer in answers for row in answer.rows),
        notes=tuple(note for answer in answers for note in answer.notes),
        failures=tuple(failure for answer in answers for failure in answer.failures),
    )


__all__ = ["PARTS", "Answer", "Asked", "bench_forecast"]
