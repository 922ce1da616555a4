"""Text files as lines and numbers, with the line to blame when one is wrong.

The importers of text formats read through here.
"""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import polars as pl

from tidegate.model.errors import InputError
from tidegate.sim.traces.schema import LARGEST

if TYPE_CHECKING:
    from pathlib import Path


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file (UTF-8; ``.gz`` is unpacked), without their ends.

    Raises:
        InputError: the file can't be opened, unpacked or read as text.

    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} can't be read ({error}); fetch the file again") from error
    try:
        return data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: this is no text; name the text files of the trace") from error


def numbers_from(
    texts: pl.Series, *, path: Path, lines: pl.Series, what: str, at_most: float = LARGEST
) -> pl.Series:
    """Return ``texts`` as Float64, where line ``lines[k]`` of ``path`` holds ``texts[k]``.

    Raises:
        InputError: a text is no finite number of zero or more, or over ``at_most``; the sentence names
            the line.

    """
    values = texts.str.strip_chars().cast(pl.Float64, strict=False)
    wrong = ~(values.is_finite() & (values >= 0)).fill_null(value=False)
    if wrong.any():
        at = int(wrong.arg_true()[0])
        raise InputError(
            f"{path}, line {lines[at]}: the {what} is {texts[at]!r}, not a number of zero or more; "
            "correct or remove the line"
        )
    if (values > at_most).any():
        at = int((values > at_most).arg_true()[0])
        raise InputError(
            f"{path}, line {lines[at]}: the {what} is {texts[at].strip()}, which is too large to be true; "
            "correct or remove the line"
        )
    return values


def files_under(path: Path, *patterns: str) -> list[Path]:
    """Return ``path`` itself if it is a file, else the files under it that match, sorted by path.

    Hidden files are left out: archives unpacked on some systems leave such beside the real ones.

    Raises:
        InputError: there is no such file or folder, or nothing in it matches.

    """
    check_name(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path} does not exist; name a file or a folder of the trace")
    found = sorted(
        {
            file
            for pattern in patterns
            for file in path.rglob(pattern)
            if file.is_file() and not file.name.startswith(".")
        }
    )
    if not found:
        raise InputError(f"{path} holds no file named like {' or '.join(patterns)}; name the trace's folder")
    for file in found:
        check_name(file)
    return found


def check_name(path: Path) -> None:
    """Refuse a name that is no text: it could neither be shown nor name a VM.

    Raises:
        InputError: the name is not UTF-8.

    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the name {str(path)!r} is not UTF-8; rename the file") from error
