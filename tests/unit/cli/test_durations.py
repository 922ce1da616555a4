from __future__ import annotations

import pytest

from tidegate.cli.durations import duration_text, parse_duration_seconds
from tidegate.model.errors import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), ("30s", 30), ("5m", 300), ("1h", 3600), ("7d", 604_800), ("2w", 1_209_600),
        ("1h30m", 5400), ("1.5h", 5400), (" 5M ", 300), ("0", 0),
    ],
)  # fmt: skip
def test_durations_are_read(text, seconds):
    assert parse_duration_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9" * 5000,
        "101w" * 60,
        "\u0665m",
        "soon",
        "5 minutes",
        "-5m",
        "5m!",
        "m",
        "1e3",
        "0.5s",
        "5mx",
        "\u0665",
    ],
)
def test_nonsense_is_refused(text):
    with pytest.raises(InputError):
        parse_duration_seconds(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (300, "5m"), (5400, "1h 30m"), (2_592_000, "30d"), (86_401, "1d 1s")]
)
def test_durations_are_written(seconds, text):
    assert duration_text(seconds) == text
