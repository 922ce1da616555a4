"""The option of programs that others start, and that are to end with whoever did."""

from __future__ import annotations

from typing import Annotated

import typer

UntilEof = Annotated[
    bool, typer.Option("--until-eof", help="End when standard input does: when who started it is gone.")
]

__all__ = ["UntilEof"]
