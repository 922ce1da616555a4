"""Shows a running loop to Prometheus: how long each stage of a tick takes.

Whoever runs a loop hands every tick's stage times in; the numbers are served on this machine alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Histogram, start_http_server

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

ADDRESS: Final = "127.0.0.1"
BUCKETS: Final = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Seconds: a stage takes from a tenth of a millisecond for a rack to seconds for a million workloads."""


class StageMetrics:
    """The histogram ``tidegate_stage_seconds{stage=...}``, served from construction to `close`."""

    def __init__(self, port: int) -> None:
        """Serve on 127.0.0.1.

        Raises:
            InputError: the port is taken or not allowed.

        """
        registry = CollectorRegistry()
        self._seconds = Histogram(
            "tidegate_stage_seconds",
            "Time a stage of one tick took.",
            ["stage"],
            buckets=BUCKETS,
            registry=registry,
        )
        try:
            self._server, self._thread = start_http_server(port, addr=ADDRESS, registry=registry)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "it is no port number"
            raise InputError(f"cannot serve metrics on port {port}: {reason}; choose another port") from error

    @property
    def port(self) -> int:
        """The port that is served on: the one asked for, or the one that was free if 0 was."""
        return int(self._server.server_port)

    def add(self, stage_seconds: Mapping[str, float]) -> None:
        """Count one tick's stage times."""
        for stage, seconds in stage_seconds.items():
            self._seconds.labels(stage=stage).observe(seconds)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


__all__ = ["StageMetrics"]
