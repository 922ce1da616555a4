"""Cards and their addresses as people type them: NAME=ADDRESS."""

from __future__ import annotations

from tidegate.model.application import checked_name
from tidegate.model.errors import InputError


def named_addresses(option: str, given: list[str]) -> dict[str, str]:
    """Return addresses by the cards' names.

    Raises:
        InputError: one is not of that form, or a name stands twice.

    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, address = text.partition("=")
        if not equals or not address:
            raise InputError(f"{option} '{text}' names no address; write it as NAME=ADDRESS")
        if checked_name("a card", name) in found:
            raise InputError(f"{option} '{name}' stands there twice; give each card once")
        found[name] = address
    return found
