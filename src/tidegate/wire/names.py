"""Names of resources: `cards/{card}/applications/{application}`, taken apart and put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tidegate.model.application import NAME, checked_name
from tidegate.model.errors import InputError
from tidegate.model.refusals import InvalidField

NAME_BYTES_MAX: Final = 256
"""Longest resource name: three names of 63 letters and what is between them."""
PROFILE: Final = "profile"
"""The last part of a profile's name: each application has at most one."""


@dataclass(frozen=True, slots=True)
class ApplicationName:
    """Which application on which card."""

    card: str
    application: str

    def __str__(self) -> str:
        """Return the resource name."""
        return f"{card_name(self.card)}/applications/{checked_name('an application', self.application)}"


@dataclass(frozen=True, slots=True)
class AdjustmentName:
    """Which adjustment of which application."""

    card: str
    application: str
    adjustment: str

    def __str__(self) -> str:
        """Return the resource name."""
        adjustment = checked_name("an adjustment", self.adjustment)
        return f"{ApplicationName(self.card, self.application)}/adjustments/{adjustment}"


@dataclass(frozen=True, slots=True)
class MigrationName:
    """Which migration of the card it leaves."""

    card: str
    migration: str

    def __str__(self) -> str:
        """Return the resource name."""
        return f"{card_name(self.card)}/migrations/{checked_name('a migration', self.migration)}"


def card_name(card: str) -> str:
    """Return the resource name of a card.

    Raises:
        InputError: a card can't be called so.

    """
    return f"cards/{checked_name('a card', card)}"


def profile_name(application: ApplicationName) -> str:
    """Return the resource name of an application's profile."""
    return f"{application}/{PROFILE}"


def card_of(name: str, field: str = "name") -> str:
    """Return the card that `cards/{card}` names.

    Raises:
        InvalidField: it is no such name; ``field`` is where it stood.

    """
    (card,) = _parts(name, "cards/{card}", field)
    return card


def application_of(name: str, field: str = "name") -> ApplicationName:
    """Return the application that `cards/{card}/applications/{application}` names.

    Raises:
        InvalidField: it is no such name; ``field`` is where it stood.

    """
    return ApplicationName(*_parts(name, "cards/{card}/applications/{application}", field))


def adjustment_of(name: str, field: str = "name") -> AdjustmentName:
    """Return the adjustment that `cards/{card}/applications/{application}/adjustments/{adjustment}` names.

    Raises:
        InvalidField: it is no such name; ``field`` is where it stood.

    """
    pattern = "cards/{card}/applications/{application}/adjustments/{adjustment}"
    return AdjustmentName(*_parts(name, pattern, field))


def migration_of(name: str, field: str = "name") -> MigrationName:
    """Return the migration that `cards/{card}/migrations/{migration}` names.

    Raises:
        InvalidField: it is no such name; ``field`` is where it stood.

    """
    return MigrationName(*_parts(name, "cards/{card}/migrations/{migration}", field))


def profile_of(name: str, field: str = "name") -> ApplicationName:
    """Return the application whose profile `cards/{card}/applications/{application}/profile` names.

    Raises:
        InvalidField: it is no such name; ``field`` is where it stood.

    """
    pattern = f"cards/{{card}}/applications/{{application}}/{PROFILE}"
    return ApplicationName(*_parts(name, pattern, field))


def watched_of(name: str, field: str = "parent") -> tuple[str, str]:
    """Return the card and the application that a watcher names, the latter empty where it means all.

    Raises:
        InvalidField: it names neither a card nor an application; ``field`` is where it stood.

    """
    if name.count("/") == 1:
        return card_of(name, field), ""
    found = application_of(name, field)
    return found.card, found.application


def application_id(name: str, field: str = "application_id") -> str:
    """Return what an application is to be called.

    Raises:
        InvalidField: it can't be called so; ``field`` is where it stood.

    """
    try:
        return checked_name("an application", name)
    except InputError as error:
        raise InvalidField(field, str(error)) from error


def last(name: str) -> str:
    """Return the last part of a resource name."""
    return name.rpartition("/")[2]


def _parts(name: str, pattern: str, field: str) -> list[str]:
    """Return what stands for each `{...}` of a pattern, in its order."""
    given, wanted = name.split("/"), pattern.split("/")
    found = [part for part, want in zip(given, wanted, strict=False) if want.startswith("{")]
    fits = len(given) == len(wanted) and all(
        NAME.fullmatch(part) if want.startswith("{") else part == want
        for part, want in zip(given, wanted, strict=True)
    )
    if not fits:
        shown = name if len(name) <= NAME_BYTES_MAX else f"{name[:NAME_BYTES_MAX]}..."
        raise InvalidField(
            field, f"{shown!r} is not of the form {pattern}, each part 1 to 63 letters, digits, '.', '_', '-'"
        )
    return found
