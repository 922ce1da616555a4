"""Path models by name: what `tidegate forecast` can put side by side.

Everything heavy is imported when its model is made: who asks for `last` needs no JAX.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tidegate.ports import PathForecaster

GROUP: Final = "tidegate.path_models"
"""Entry points of plug-ins: each a callable that takes a seed and returns a `PathForecaster`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathModel:
    """How to make a path model, and what it needs."""

    where: str
    """``module:Class``, below `tidegate.forecast.paths`; the class takes ``seed`` by keyword."""
    needs: str | None = None
    """The extra it needs, or None."""
    daily: bool = False
    """A model per series, fitted anew each day; else one for all, fitted once."""


PATH_MODELS: Final[Mapping[str, PathModel]] = {
    "last": PathModel(where="simple:Last"),
    "seasonal_naive": PathModel(where="simple:SeasonalNaive"),
    "percentile": PathModel(where="simple:Percentile"),
    "recent_peak": PathModel(where="simple:RecentPeak"),
    "profile": PathModel(where="usual:Usual"),
    "arima": PathModel(where="statistical:Arima", needs="models", daily=True),
    "ets": PathModel(where="statistical:Ets", needs="models", daily=True),
    "theta": PathModel(where="statistical:Theta", needs="models", daily=True),
    "mstl": PathModel(where="statistical:Mstl", needs="models", daily=True),
    "prophet": PathModel(where="additive:Prophet", needs="models", daily=True),
    "ridge": PathModel(where="ridge:Ridge"),
    "lightgbm": PathModel(where="trees:LightGbm", needs="models"),
    "lstm": PathModel(where="lstm:Lstm", needs="learn"),
    "fracast": PathModel(where="zero_shot:Fracast", needs="torch==2.13.0 fracast"),
    "engine": PathModel(where="engine:PathEngine"),
}


def path_model(name: str, *, seed: int) -> PathForecaster:
    """Make a path model by name: ours first, then plug-ins.

    Raises:
        InputError: nobody goes by that name, or what it needs is not installed.

    """
    known = PATH_MODELS.get(name)
    if known is None:
        return _plug_in(name)(seed)
    module, _, kind = known.where.partition(":")
    try:
        made: PathForecaster = getattr(import_module(f"tidegate.forecast.paths.{module}"), kind)(seed=seed)
    except ModuleNotFoundError as error:
        raise InputError(f"model '{name}' needs {_how(known)}: {error.name} is not installed") from error
    return made


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
