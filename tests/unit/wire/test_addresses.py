"""Addresses as people type them."""

from __future__ import annotations

import pytest

from tidegate.model.errors import InputError
from tidegate.wire.addresses import address_of

BAD_ADDRESSES = (
    "", "card", "tcp:", "tcp:x", "tcp::80", "tcp:host:", "tcp:host:70000", "tcp:host:-1", "tcp:host:8x",
    "tcp:[::1:80", "tcp:[zz]:80", "tcp:a b:80", "unix:", "unix:card.sock", "unix:/run/", "unix:/" + "a" * 107,
    "http://host:80", "tcp:host:²", "vsock:3:80",
)  # fmt: skip


@pytest.mark.parametrize("text", BAD_ADDRESSES)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InputError):
        address_of(text)


@pytest.mark.parametrize(
    ("text", "here"),
    [("tcp:127.0.0.1:1", True), ("tcp:[::1]:1", True), ("tcp:localhost:1", True), ("unix:/a", True),
     ("tcp:10.0.0.1:1", False), ("tcp:[fe80::1]:1", False), ("tcp:localhost.evil:1", False)],
)  # fmt: skip
def test_an_address_survives_and_knows_whether_it_stays_here(text, here):
    assert str(address_of(text)) == text
    assert address_of(text).stays_here is here
