"""What every test shares: how Hypothesis looks for examples, and how to see a failure again."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tidegate.app.threads import one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

# `ci` looks for new examples every time and prints what it takes to see a failure again;
# HYPOTHESIS_PROFILE=thorough looks longer.
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=False, print_blob=True)
settings.register_profile("thorough", parent=settings.get_profile("ci"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Draw the seed here, before Hypothesis and the workers would, so that it can be told."""
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(secrets.randbelow(2**32))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say, under a failure, how to draw the same examples again."""
    if terminalreporter.stats.get("failed"):
        again = f"make test ARGS='--hypothesis-seed={config.option.hypothesis_seed}'"
        terminalreporter.write_line(f"the same examples again: {again}")


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the journals of whoever runs it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="session", autouse=True)
def _one_blas_thread_as_in_every_program() -> Iterator[None]:
    """More threads make the engine's small matrices ten times slower where cores are shared."""
    with one_blas_thread():
        yield


@pytest.fixture(scope="session")
def shared_traces() -> Path:
    """The folder of research traces, which are no part of the project: tests skip where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared/traces"
    folder = Path(os.environ.get("TIDEGATE_TRACES", beside))
    if not folder.is_dir():
        pytest.skip(f"no research traces at {folder}: set TIDEGATE_TRACES to their folder")
    return folder
