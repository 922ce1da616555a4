"""`tidegate autonomy`, `pause` and `resume`: how far Tidegate may go, told while it runs."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.journals import JournalOption, Opened, opened
from tidegate.cli.saying import say
from tidegate.journal.sql.controls import controls_of
from tidegate.model.autonomy import Level, level
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidegate.model.autonomy import Autonomy

NAMED_MAX: Final = 5
"""How many of the workloads a pattern matches are named."""
NOTICED: Final = "A running Tidegate notices at its next tick."
JsonOption = Annotated[Path | None, typer.Option(help="Write what now holds here, for machines.")]
PatternArgument = Annotated[
    str, typer.Argument(metavar="PATTERN", help="Names as in a shell: 'web*', 'db-?'; quote it.")
]

autonomy_app = typer.Typer(help="How far Tidegate may go with each workload.", no_args_is_help=False)


@autonomy_app.callback(invoke_without_command=True)
def show(context: typer.Context, journal: JournalOption = None, json: JsonOption = None) -> None:
    """List the rules, what holds for whom no rule matches, and whether everything is paused."""
    if context.invoked_subcommand is not None:
        if journal is not None or json is not None:
            raise InputError(f"write the options after '{context.invoked_subcommand}'")
        return
    check_writable(json)
    with opened(journal) as journals:
        _tell(_listed(journals), journals, json)


@autonomy_app.command("set")
def allow(
    pattern: PatternArgument,
    to: Annotated[str, typer.Argument(metavar="observe|recommend|auto", help="What may be done.")],
    journal: JournalOption = None,
    json: JsonOption = None,
) -> None:
    """Let a level hold for whom a pattern matches, over every rule set before."""
    check_writable(json)
    wanted = level(to)
    if not pattern:
        raise InputError("the pattern is empty; write one like 'web*', or '*' for everyone")
    with opened(journal) as journals:
        said = []
        for one in journals:
            with controls_of(one.where, one.default) as controls:
                controls.allow(pattern, wanted, now_seconds=one.now_seconds())
            said.append(f"{_whose(one)}: '{pattern}' is now {wanted.label}; {_matching(one, pattern)}.")
        _tell([*said, *_warning(journals, pattern), NOTICED], journals, json)


@autonomy_app.command("forget")
def forget(pattern: PatternArgument, journal: JournalOption = None, json: JsonOption = None) -> None:
    """Drop the rule of a pattern: the rules set before it, or the default, decide again."""
    check_writable(json)
    with opened(journal) as journals:
        having = [one for one in journals if pattern in dict(one.autonomy().rules)]
        if not having:
            names = " or ".join(one.where.name for one in journals)
            raise InputError(f"there is no rule for '{pattern}' in {names}; 'tidegate autonomy' lists them")
        said = []
        for one in having:
            with controls_of(one.where, one.default) as controls:
                controls.forget(pattern, now_seconds=one.now_seconds())
            said.append(f"{_whose(one)}: the rule for '{pattern}' is gone; {_counts(one)}.")
        _tell([*said, NOTICED], having, json)


def pause(journal: JournalOption = None, json: JsonOption = None) -> None:
    """Stop all action at the next tick: everybody keeps what they hold until `tidegate resume`."""
    check_writable(json)
    with opened(journal) as journals:
        said = []
        for one in journals:
            with controls_of(one.where, one.default) as controls:
                fresh = controls.pause(now_seconds=one.now_seconds())
            state = "paused" if fresh else "was paused already"
            said.append(f"{_whose(one)}: {state}; everybody keeps what they hold until 'tidegate resume'.")
        _tell([*said, NOTICED], journals, json)


def resume(journal: JournalOption = None, json: JsonOption = None) -> None:
    """Let actions go on as autonomy says."""
    check_writable(json)
    with opened(journal) as journals:
        said = []
        for one in journals:
            with controls_of(one.where, one.default) as controls:
                fresh = controls.resume(now_seconds=one.now_seconds())
            state = "resumed" if fresh else "was not paused"
            said.append(f"{_whose(one)}: {state}; autonomy decides: {_counts(one)}.")
        _tell([*said, NOTICED], journals, json)


def figures(journals: Sequence[Opened]) -> dict[str, object]:
    """Return what holds in each journal in the form that machines read."""
    return {"journals": [_figures(one) for one in journals]}


def _figures(one: Opened) -> dict[str, object]:
    now, names = one.autonomy(), one.names()
    return {
        "journal": one.where.name,
        "default": now.default.label,
        "paused": now.paused,
        "rules": [
            {"pattern": pattern, "level": to.label, "matches": _count(names, pattern)}
            for pattern, to in now.rules
        ],
        "workloads": _by_level(now, names),
    }


def _listed(journals: Sequence[Opened]) -> Iterator[str]:
    for one in journals:
        now, names = one.autonomy(), one.names()
        yield f"{_whose(one)}: {'paused, nothing is acted on' if now.paused else 'not paused'}."
        yield f"  Whom no rule matches: {now.default.label}."
        if now.rules:
            yield "  Rules, of which the last that matches decides:"
        widest = max((len(pattern) for pattern, _ in now.rules), default=0)
        for pattern, to in now.rules:
            matched = _count(names, pattern)
            many = "none matches now" if matched == 0 else f"matches {matched}"
            yield f"    {pattern.ljust(widest)}  {to.label:9}  {many}"
        yield f"  So {_counts(one)}."


def _matching(one: Opened, pattern: str) -> str:
    names = [name for name in one.names() if fnmatchcase(name, pattern)]
    if not names:
        return "it matches no workload there now"
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return f"it matches {len(names)}: {', '.join(names[:NAMED_MAX])}{more}"


def _warning(journals: Sequence[Opened], pattern: str) -> list[str]:
    if any(_count(one.names(), pattern) for one in journals):
        return []
    return [f"Warning: '{pattern}' matches nobody now; 'tidegate plan show --all' lists the names."]


def _counts(one: Opened) -> str:
    """Say how many workloads each level holds for."""
    by_level = _by_level(one.autonomy(), one.names())
    parts = [f"{count} {label}" for label, count in by_level.items() if count]
    return (
        f"of {sum(by_level.values())} workloads: {', '.join(parts)}" if parts else "no workload is known yet"
    )


def _by_level(now: Autonomy, names: Sequence[str]) -> dict[str, int]:
    counts = Counter(now.levels(names).tolist())
    return {one.label: counts.get(int(one), 0) for one in Level}


def _count(names: Sequence[str], pattern: str) -> int:
    return sum(fnmatchcase(name, pattern) for name in names)


def _whose(one: Opened) -> str:
    return f"{one.whose} ({one.where.name})"


def _tell(said: Iterator[str] | Sequence[str], journals: Sequence[Opened], json: Path | None) -> None:
    lines = list(said)
    if json is not None:
        write_atomically(json, msgspec.json.format(msgspec.json.encode(figures(journals))))
    say(*lines)


__all__ = ["allow", "autonomy_app", "figures", "forget", "pause", "resume", "show"]
