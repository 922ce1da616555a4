"""Which Tidegate trained a model."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

GIT_SECONDS_MAX: Final = 5


def origin(module: Path = Path(__file__)) -> str:
    """Return the commit of the source tree this runs from, ``-dirty`` where files differ; else the version.

    Only a tree of Tidegate's own counts: a package installed somewhere inside another project is not of
    that project's commit.
    """
    root = next((folder for folder in module.parents if folder.name == "src"), module).parent
    if (root / ".git").exists() and (root / "src/tidegate/loop.py").exists():
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        try:
            said = subprocess.run(  # noqa: S603 - a fixed command, no shell
                command, capture_output=True, text=True, check=True, timeout=GIT_SECONDS_MAX
            )
            return said.stdout.strip()
        except (OSError, subprocess.SubprocessError):
            pass
    try:
        return version("tidegate")
    except PackageNotFoundError:
        return "unknown"


__all__ = ["origin"]
