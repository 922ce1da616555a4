"""How far it may go with whom: of the patterns that match a name, the last decides."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.autonomy import Autonomy, Level, level
from tidegate.model.errors import InputError

NAMES = ("web-1", "web-2", "db-1", "WEB-1", "a/b")
PATTERNS = ("*", "web-*", "web-?", "db-[12]", "nobody", "a/*", "[!w]*")
rules = st.lists(st.tuples(st.sampled_from(PATTERNS), st.sampled_from(Level)), max_size=6).map(tuple)


def levels(default, *of):
    return Autonomy(default=default, rules=of).levels(NAMES).tolist()


def test_whom_no_rule_names_has_the_default():
    assert levels(Level.OBSERVE, ("nobody", Level.AUTO)) == [Level.OBSERVE] * 5


def test_the_last_rule_that_matches_decides():
    first, second = ("web-*", Level.AUTO), ("web-2", Level.RECOMMEND)
    assert levels(Level.OBSERVE, first, second) == [2, 1, 0, 0, 0]
    assert levels(Level.OBSERVE, second, first) == [2, 2, 0, 0, 0]


def test_a_star_matches_slashes_and_case_counts():
    assert levels(Level.OBSERVE, ("a*", Level.AUTO), ("web*", Level.AUTO)) == [2, 2, 0, 0, 2]


@given(default=st.sampled_from(Level), of=rules)
def test_each_name_has_the_level_of_its_last_match(default, of):
    found = Autonomy(default=default, rules=of).levels(NAMES)
    assert found.dtype == np.uint8
    for name, got in zip(NAMES, found, strict=True):
        matching = [to for pattern, to in of if fnmatchcase(name, pattern)]
        assert got == (matching[-1] if matching else default)


@given(default=st.sampled_from(Level), of=rules)
def test_a_pause_leaves_levels_as_they_are(default, of):
    paused = Autonomy(default=default, rules=of, paused=True)
    assert paused.levels(NAMES).tolist() == Autonomy(default=default, rules=of).levels(NAMES).tolist()


def test_nobody_has_no_level():
    assert Autonomy(default=Level.AUTO).levels(()).shape == (0,)


@pytest.mark.parametrize("text", ["observe", "Recommend", "AUTO"])
def test_levels_are_found_by_the_names_people_type(text):
    assert level(text).label == text.lower()


def test_another_name_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="unknown autonomy 'yes'; choose from observe, recommend, auto"):
        level("yes")
