"""Path models by name: what `tidegate forecast` can put side by side.

Everything heavy is imported when its model is made: who asks for `last` needs no JAX.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from inspect import signature
from typing import TYPE_CHECKING, Final

from tidegate.forecast.feeds import WithFeeds
from tidegate.forecast.windows import HOUR_SECONDS
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tidegate.ports import PathForecaster

GROUP: Final = "tidegate.path_models"
"""Entry points of plug-ins: each a callable that takes a seed and returns a `PathForecaster`."""
FEEDS_SUFFIX: Final = "+feeds"
"""What a name ends with to have the model wrapped: shifted by feeds where these have shown to help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathModel:
    """How to make a path model, and what it needs."""

    where: str
    """``module:Class``, below `tidegate.forecast.paths`; the class takes ``seed`` by keyword."""
    needs: str | None = None
    """The extra it needs, or None."""
    modules: tuple[str, ...] = ()
    """What it imports of that."""
    daily: bool = False
    """A model per series, fitted anew each day; else one for all, fitted once."""


PATH_MODELS: Final[Mapping[str, PathModel]] = {
    "last": PathModel(where="simple:Last"),
    "seasonal_naive": PathModel(where="simple:SeasonalNaive"),
    "percentile": PathModel(where="simple:Percentile"),
    "recent_peak": PathModel(where="simple:RecentPeak"),
    "profile": PathModel(where="usual:Usual"),
    "arima": PathModel(where="statistical:Arima", needs="models", modules=("statsforecast",), daily=True),
    "ets": PathModel(where="statistical:Ets", needs="models", modules=("statsforecast",), daily=True),
    "theta": PathModel(where="statistical:Theta", needs="models", modules=("statsforecast",), daily=True),
    "mstl": PathModel(where="statistical:Mstl", needs="models", modules=("statsforecast",), daily=True),
    "prophet": PathModel(where="additive:Prophet", needs="models", modules=("prophet",), daily=True),
    "ridge": PathModel(where="ridge:Ridge"),
    "lightgbm": PathModel(where="trees:LightGbm", needs="models", modules=("lightgbm",)),
    "lstm": PathModel(where="lstm:Lstm", needs="learn", modules=("jax", "optax")),
    "fracast": PathModel(
        where="zero_shot:Fracast", needs="torch==2.13.0 fracast", modules=("torch", "fracast")
    ),
    "engine": PathModel(where="engine:PathEngine"),
    "gates": PathModel(where="engine:without_members"),
}


def path_model(
    name: str,
    *,
    seed: int,
    engine: str = "local",
    processes: int | None = None,
    feeds_seconds: int = HOUR_SECONDS,
) -> PathForecaster:
    """Make a path model by name: ours first, then plug-ins; with `FEEDS_SUFFIX`, one that uses feeds.

    A model that can spread its work takes ``engine`` and ``processes`` (None: as it likes) by keyword; others
    work where they are. ``feeds_seconds`` is how far ahead feeds are tried.

    Raises:
        InputError: nobody goes by that name, or what it needs is not installed.

    """
    base = without_feeds(name)
    kind = _kind(base)
    if base in PATH_MODELS:
        taken = _taken(kind)
        given = {"engine": engine, "processes": processes}
        model = kind(seed=seed, **{word: value for word, value in given.items() if word in taken})
    else:
        model = kind(seed)
    if base == name:
        return model
    return WithFeeds(model, seed=seed, horizon_seconds=feeds_seconds, grouping="server_or_name")


def without_feeds(name: str) -> str:
    """Return the name of the model that is wrapped; the name itself where none is."""
    return name.removesuffix(FEEDS_SUFFIX)


def spreads(name: str) -> bool:
    """Return whether a model can spread its work over more machines.

    Raises:
        InputError: see `path_model`.

    """
    base = without_feeds(name)
    return base in PATH_MODELS and "engine" in _taken(_kind(base))


def is_daily(name: str) -> bool:
    """Return whether a model learns anew each day; a plug-in says so by an attribute ``daily``.

    Raises:
        InputError: nobody goes by that name.

    """
    base = without_feeds(name)
    known = PATH_MODELS.get(base)
    return bool(getattr(_plug_in(base), "daily", False)) if known is None else known.daily


def _kind(name: str) -> Callable[..., PathForecaster]:
    """Return the class of a model, or what a plug-in makes its own with."""
    known = PATH_MODELS.get(name)
    if known is None:
        return _plug_in(name)
    for needed in known.modules:
        if find_spec(needed) is None:
            raise InputError(f"model '{name}' needs {_how(known)}: {needed} is not installed")
    module, _, kind = known.where.partition(":")
    try:
        found: Callable[..., PathForecaster] = getattr(
            import_module(f"tidegate.forecast.paths.{module}"), kind
        )
    except ModuleNotFoundError as error:
        raise InputError(f"model '{name}' needs {_how(known)}: {error.name} is not installed") from error
    return found


def _taken(kind: Callable[..., PathForecaster]) -> frozenset[str]:
    """Return the names of what a constructor takes."""
    return frozenset(signature(kind).parameters)


def _plug_in(name: str) -> Callable[[int], PathForecaster]:
    plug_ins = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in plug_ins:
        choices = ", ".join([*PATH_MODELS, *sorted(plug_ins)])
        raise InputError(f"unknown model '{name}'; choose from {choices}")
    factory: Callable[[int], PathForecaster] = plug_ins[name].load()
    return factory


def _how(model: PathModel) -> str:
    if model.needs in {"models", "learn"}:
        return f"the extra '{model.needs}' (pip install 'tidegate[{model.needs}]')"
    return f"more packages (pip install {model.needs})"
