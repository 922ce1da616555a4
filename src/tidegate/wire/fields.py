"""Which field of a message is being read, so that whatever is wrong with it is told by its name."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tidegate.model.errors import InputError
from tidegate.model.refusals import InvalidField

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def in_field(field: str) -> Iterator[None]:
    """Put the field's name before whatever is said to be wrong inside.

    Raises:
        InvalidField: an InputError was raised inside; fields inside fields are joined with dots.

    """
    try:
        yield
    except InvalidField as error:
        path = f"{field}.{error.field}"
        raise InvalidField(path, said_of(error), limit=error.limit) from error
    except InputError as error:
        raise InvalidField(field, str(error)) from error


def said_of(error: InvalidField) -> str:
    """Return what is wrong, without the field's name before it."""
    return str(error).removeprefix(f"{error.field}: ")


def checked_count(field: str, count: int, limit: int, of_what: str) -> None:
    """Refuse more of something than its limit.

    Raises:
        InvalidField: there are more.

    """
    if count > limit:
        raise InvalidField(field, f"{count} {of_what} are more than {limit}", limit=limit)


def checked_text(field: str, text: str, limit: int) -> str:
    """Return a text, unless it is longer than its limit or has a NUL in it, which no kernel takes.

    Raises:
        InvalidField: it is, or has.

    """
    length = len(text.encode())
    if length > limit:
        raise InvalidField(field, f"{length} bytes are more than {limit}", limit=limit)
    if "\0" in text:
        raise InvalidField(field, "it has a NUL in it; leave it out")
    return text
