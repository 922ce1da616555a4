"""`tidegate models` with all its commands, which are in two modules."""

from __future__ import annotations

from tidegate.cli.judge import command as judge
from tidegate.cli.models import models_app

models_app.command("judge")(judge)

__all__ = ["models_app"]
