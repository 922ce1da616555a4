"""What tests of real cards need: root, cgroups, network namespaces; who lacks them is told."""

from __future__ import annotations

import pytest

from tidegate.lab.bench.cards.namespaces import namespaces, require_root
from tidegate.lab.bench.load import LoadCgroup
from tidegate.model.errors import InputError


@pytest.fixture(scope="session")
def real_machine():
    """Skip, and say so, where this machine does not let us have real cards."""
    try:
        require_root()
        LoadCgroup("tidegate-real-test").remove()
        with namespaces("z"):
            pass
    except InputError as error:
        pytest.skip(f"no real cards here: {error}")
