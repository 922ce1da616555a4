"""Takes a picture of what a command prints, as SVG, so that the pages show what the program shows.

python docs/write_picture.py docs/pictures/explain.svg explain web-1 --resource cpu
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS: Final = 100
SECONDS_MAX: Final = 120


def picture(arguments: Sequence[str]) -> str:
    """Return what ``tidegate`` prints in a terminal with these arguments, as SVG that fetches nothing."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "tidegate.cli.main", *arguments],
        env=os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "COLORTERM": "truecolor"},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=True,
    )
    console = Console(
        record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(Text.from_ansi(done.stdout.rstrip("\n")))
    svg = console.export_svg(title=f"tidegate {' '.join(arguments)}")
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def main(arguments: Sequence[str]) -> int:
    """Write one picture; 0 done, 2 where the command prints none."""
    if len(arguments) < 2:
        sys.stderr.write("name a file and a command, as in write_picture.py explain.svg explain web-1\n")
        return 2
    try:
        made = picture(arguments[1:])
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{error.stderr}")
        return 2
    Path(arguments[0]).write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
