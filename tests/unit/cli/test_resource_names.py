from __future__ import annotations

import pytest

from tidegate.cli.resource_names import parse_resources
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource


def test_names_are_read_in_order_and_once():
    assert parse_resources("memory, CPU,memory") == (Resource.MEMORY, Resource.CPU)


@pytest.mark.parametrize("text", ["", ",", "cpu,disk"])
def test_others_are_refused_with_the_choice(text):
    with pytest.raises(InputError, match="cpu, memory, gpu, network, storage"):
        parse_resources(text)
