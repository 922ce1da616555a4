"""Path models as people type them, and which of them can run here.

The option ``--model last,ridge`` comes through here.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from tidegate.app.path_models import path_model, spreads
from tidegate.model.errors import InputError

DEFAULT_MODELS: Final = ("last", "seasonal_naive", "profile", "ridge", "lightgbm", "lstm", "engine")
ENGINES: Final = ("local", "ray")


def parse_models(text: str | None, *, seed: int) -> tuple[list[str], list[str]]:
    """Return the models of a list such as ``last,ridge``, and why those left out are; None: the default.

    Of the default, models that need what is not installed are left out. Asked for by name they are refused.

    Raises:
        InputError: no model is named or one twice, nobody goes by a name, or what it needs is not installed.

    """
    if text is not None:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if not names:
            raise InputError("--model names no model; give one or more, such as --model last,ridge")
        if len(set(names)) != len(names):
            raise InputError(f"--model names a model twice: {', '.join(names)}")
        for name in names:
            path_model(name, seed=seed)
        return names, []
    here, left_out = [], []
    for name in DEFAULT_MODELS:
        try:
            path_model(name, seed=seed)
        except InputError as error:
            left_out.append(str(error))
        else:
            here.append(name)
    if not here:
        raise InputError(f"none of the default models can run here: {'; '.join(left_out)}")
    return here, left_out


def check_engine(engine: str, models: list[str]) -> None:
    """Refuse an engine that is unknown, not installed, or of no use to any of the models.

    Raises:
        InputError: it is.

    """
    if engine not in ENGINES:
        raise InputError(f"the engine '{engine}' is unknown; choose --engine local or ray")
    if engine == "local":
        return
    if not any(spreads(name) for name in models):
        raise InputError(
            f"none of {', '.join(models)} can spread its work over Ray; use --engine local, or other models"
        )
    if find_spec("ray") is None:
        raise InputError("--engine ray needs the extra 'ray' (pip install 'tidegate[ray]')")
