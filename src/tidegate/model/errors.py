"""The errors a person meets: each is one sentence that names the thing and says what to do."""

from __future__ import annotations


class TidegateError(Exception):
    """Something failed that the user can do something about; commands print it and exit with code 1."""


class InputError(TidegateError):
    """Wrong usage or bad input: a file, a name or a number; commands print it and exit with code 2."""
