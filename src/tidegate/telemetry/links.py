"""The last probes of many links, and what they say: latency, jitter, loss, capacity."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from tidegate.model.errors import InputError
from tidegate.model.links import PATIENCE_SECONDS, LinkColumns
from tidegate.telemetry.capacity import capacity_bytes_per_second, train_bytes_per_second
from tidegate.telemetry.losses import CHANGE_PROBABILITY, chance_unchanged, loss_ratio
from tidegate.telemetry.round_trips import jitter, quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tidegate.model.links import Probes, Train

LATENCY_WINDOW_SECONDS: Final = 10.0
"""Of latency and jitter: a median says so after half of it when a way has become longer."""
LOSS_WINDOW_SECONDS: Final = 60.0
"""One in a hundred takes hundreds of probes to be told from one in fifty."""
LATE_SECONDS: Final = (1.0, 2.0, 3.0, 4.0, 5.0)
"""What was lost in the last so many seconds is held against what was lost before: where that has changed, the
window starts anew where it most likely did, and does not drag an outage behind it for a minute."""
CAPACITY_WINDOW_SECONDS: Final = 120.0
FRESH_SECONDS: Final = 10.0
"""A link of which nothing came back for longer is not known any more."""
PROBES_MAX: Final = 1024
"""Kept of each link: a minute at 17 a second."""
TRAINS_MAX: Final = 5
"""Kept of each link: an odd number, of which the middle one counts."""
LINKS_MAX: Final = 4096
_Scalar = TypeVar("_Scalar", bound=np.generic)


class LinkWindows:
    """What is remembered of links: rings of probes and of trains, a row for each link."""

    def __init__(self) -> None:
        """Start without links."""
        self._peers: tuple[str, ...] = ()
        self._sent = np.empty((0, PROBES_MAX))
        self._round_trip = np.empty((0, PROBES_MAX))
        self._probes = np.empty(0, dtype=np.int64)
        """(links,) how many there ever were."""
        self._train_sent = np.empty((0, TRAINS_MAX))
        self._train_rate = np.empty((0, TRAINS_MAX))
        self._trains = np.empty(0, dtype=np.int64)
        self._loss_since = np.empty(0)
        """(links,) loss is what it is since then."""

    @property
    def peers(self) -> tuple[str, ...]:
        """Who is at the other ends."""
        return self._peers

    def follow(self, peers: Sequence[str]) -> None:
        """Watch these links from now on; what is known of those that stay, stays.

        Raises:
            InputError: a name stands there twice, or there are too many; nothing was changed.

        """
        if len(set(peers)) != len(peers):
            raise InputError("links to watch name a peer twice; name each once")
        if len(peers) > LINKS_MAX:
            raise InputError(
                f"{len(peers)} links to watch are more than {LINKS_MAX}; watch fewer from one end"
            )
        rows = {peer: row for row, peer in enumerate(self._peers)}
        at = np.array([rows.get(peer, -1) for peer in peers], dtype=np.int64)
        self._peers = tuple(peers)
        self._sent, self._round_trip = _taken(self._sent, at, np.nan), _taken(self._round_trip, at, np.nan)
        self._train_sent = _taken(self._train_sent, at, np.nan)
        self._train_rate = _taken(self._train_rate, at, np.nan)
        self._probes, self._trains = _taken(self._probes, at, 0), _taken(self._trains, at, 0)
        self._loss_since = _taken(self._loss_since, at, -np.inf)

    def add(self, peer: str, probes: Probes, trains: Sequence[Train] = ()) -> None:
        """Take in what became of probes and trains of one link.

        Raises:
            InputError: that link is not watched.

        """
        if peer not in self._peers:
            raise InputError(f"the link to '{peer}' is not watched; name it to follow first")
        row = self._peers.index(peer)
        sent, back = probes.sent_seconds[-PROBES_MAX:], probes.round_trip_seconds[-PROBES_MAX:]
        places = (self._probes[row] + np.arange(sent.size)) % PROBES_MAX
        self._sent[row, places], self._round_trip[row, places] = sent, back
        self._probes[row] += sent.size
        for train in trains[-TRAINS_MAX:]:
            place = self._trains[row] % TRAINS_MAX
            self._train_sent[row, place] = train.sent_seconds[0]
            self._train_rate[row, place] = train_bytes_per_second(train)
            self._trains[row] += 1

    def measure(self, now_seconds: float) -> LinkColumns:
        """Return every link as it is now, on the clock of the probes."""
        order = np.argsort(self._sent, axis=1)  # NaN last: places that are still free
        sent = np.take_along_axis(self._sent, order, axis=1)
        back = np.take_along_axis(self._round_trip, order, axis=1)
        late = np.where(sent > now_seconds - LATENCY_WINDOW_SECONDS, back, np.nan)
        trains = np.where(self._train_sent > now_seconds - CAPACITY_WINDOW_SECONDS, self._train_rate, np.nan)
        capacity = capacity_bytes_per_second(trains)
        last = _latest(sent)
        heard = _latest(np.where(np.isnan(back), np.nan, sent))
        return LinkColumns(
            peers=self._peers,
            latency_seconds=quantile(late, 0.5),
            latency_p95_seconds=quantile(late, 0.95),
            jitter_seconds=jitter(late),
            loss_ratio=self._loss(sent, np.isnan(back), now_seconds),
            capacity_bytes_per_second=np.where(np.isfinite(capacity), capacity, np.nan),
            used_bytes_per_second=np.full(len(self._peers), np.nan),
            age_seconds=np.where(np.isfinite(last), now_seconds - last, np.nan),
            is_fresh=heard > now_seconds - FRESH_SECONDS,
        )

    def _loss(
        self, sent: NDArray[np.float64], lost: NDArray[np.bool_], now_seconds: float
    ) -> NDArray[np.float64]:
        """Return the share that is lost of those whose time is up, since it last changed.

        Of younger ones only those that came back are known: they would make any link look better.
        """
        until = now_seconds - PATIENCE_SECONDS
        counted, since = self._counted(sent, until)
        lost_all, probes_all = _count(counted & lost), _count(counted)
        chances = np.empty((len(LATE_SECONDS), len(self._peers)))
        for row, seconds in enumerate(LATE_SECONDS):
            late = counted & (sent > until - seconds)
            lost_late, probes_late = _count(late & lost), _count(late)
            chances[row] = chance_unchanged(
                lost_late, probes_late, lost_all - lost_late, probes_all - probes_late
            )
        likeliest = until - np.array(LATE_SECONDS)[np.argmin(chances, axis=0)]
        self._loss_since = np.where(chances.min(axis=0) < CHANGE_PROBABILITY, likeliest, since)
        counted, _ = self._counted(sent, until)
        return loss_ratio(_count(counted & lost), _count(counted))

    def _counted(
        self, sent: NDArray[np.float64], until: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Return which probes count for loss (links, probes), and since when they do (links,)."""
        since = np.maximum(self._loss_since, until - LOSS_WINDOW_SECONDS)
        return (sent > since[:, None]) & (sent <= until), since


def with_interfaces(links: LinkColumns, used: NDArray[np.float64], speed: NDArray[np.float64]) -> LinkColumns:
    """Return links with what their interfaces tell (links,), NaN where unknown.

    A link carries at most what its interface does; where no train has told, it is taken to carry that.
    """
    capacity = np.fmin(links.capacity_bytes_per_second, speed)
    with np.errstate(invalid="ignore"):
        slower = ~(links.capacity_bytes_per_second <= speed) & ~np.isnan(speed)
    return replace(links, used_bytes_per_second=used, capacity_bytes_per_second=capacity, by_interface=slower)


def _latest(sent: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the latest moment of each row; minus infinity where there is none."""
    return np.where(np.isnan(sent), -np.inf, sent).max(axis=1, initial=-np.inf)


def _count(which: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.count_nonzero(which, axis=1).astype(np.int64)


def _taken(array: NDArray[_Scalar], rows: NDArray[np.int64], fill: float) -> NDArray[_Scalar]:
    """Return rows of an array, filled where the row is -1."""
    found = np.full((rows.size, *array.shape[1:]), fill, dtype=array.dtype)
    found[rows >= 0] = array[rows[rows >= 0]]
    return found
