"""Resources as people type them.

The option ``--resource cpu,memory`` of every command comes through here.
"""

from __future__ import annotations

from tidegate.model.errors import InputError
from tidegate.model.resources import Resource


def parse_resources(text: str) -> tuple[Resource, ...]:
    """Return the resources of a list such as ``cpu,memory``, in the given order, each once.

    Raises:
        InputError: a name is unknown, or there is none.

    """
    known = {resource.label: resource for resource in Resource}
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise InputError(f"the resource {name!r} is unknown; choose among {', '.join(known)}")
    if not names:
        raise InputError(f"no resource was named; choose among {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(names))
