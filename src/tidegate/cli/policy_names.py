"""Policies as people type them.

The option ``--policy vpa,tidegate`` comes through here.
"""

from __future__ import annotations

from tidegate.model.errors import InputError


def parse_policies(text: str) -> list[str]:
    """Return the names of a list such as ``vpa,tidegate``; whether they exist, the registry says.

    Raises:
        InputError: there is none.

    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError("--policy names no policy; give one or more, such as --policy vpa,tidegate")
    return names
