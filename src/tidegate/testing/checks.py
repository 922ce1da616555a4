"""What a check is: a name, a sentence on what it wants, and a way to run it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import ArrayLike

_Subject = TypeVar("_Subject")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold; calling it raises AssertionError with a sentence where it does not."""

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        """Run the check."""
        self.run()

    def __str__(self) -> str:
        """Return the name, for test ids."""
        return self.name


def checks_of(subject: _Subject, checks: Iterable[Callable[[_Subject], None]]) -> tuple[Check, ...]:
    """Bind each check to the subject it is to look at."""
    return tuple(Check(check.__name__.removeprefix("check_"), partial(check, subject)) for check in checks)


def run_all(checks: Iterable[Check]) -> None:
    """Run every check and report all that fail in one error.

    Raises:
        AssertionError: at least one check failed; one line each.

    """
    failed = []
    for check in checks:
        try:
            check()
        except AssertionError as error:
            failed.append(f"{check.name}: {error}")
    require(not failed, "\n".join(failed))


def require(holds: object, sentence: str) -> None:
    """Raise AssertionError with the sentence unless it holds; unlike `assert`, under -O too.

    Raises:
        AssertionError: it does not hold.

    """
    if not holds:
        raise AssertionError(sentence)


def require_array(values: object, name: str, *, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    """Require an array of one shape and type."""
    require(isinstance(values, np.ndarray), f"{name} is no array but {type(values).__name__}")
    found = np.asarray(values)
    require(found.shape == shape, f"{name} has shape {found.shape}, it must be {shape}")
    require(found.dtype == dtype, f"{name} is {found.dtype}, it must be {np.dtype(dtype)}")


def require_same(found: ArrayLike, wanted: ArrayLike, sentence: str) -> None:
    """Require equal values, NaN where NaN is wanted; the sentence names the first that differ."""
    left, right = np.asarray(found), np.asarray(wanted)
    require(left.shape == right.shape, f"{sentence}: shape {left.shape} is not {right.shape}")
    same = (left == right) | ((left != left) & (right != right))  # noqa: PLR0124 - NaN differs from itself
    if not same.all():
        at = tuple(int(index) for index in np.argwhere(~same)[0])
        require(holds=False, sentence=f"{sentence}: at {at} {left[at]} is not {right[at]}")
