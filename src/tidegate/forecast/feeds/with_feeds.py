"""`WithFeeds`: any path model, its paths shifted by what feeds tell, where these have shown to help."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import numpy as np

from tidegate.forecast.feeds import correction
from tidegate.forecast.feeds.ablation import Ablation, FeedGain, Used
from tidegate.forecast.feeds.alignment import by_name, features
from tidegate.forecast.feeds.groups import GROUPINGS, bounded
from tidegate.forecast.feeds.samples import (
    LARGEST_ERROR,
    MEDIAN,
    bucket_of,
    controls,
    gather,
    rest_day,
)
from tidegate.forecast.windows import HOUR_SECONDS
from tidegate.model.columns import part_of, prefixed, under
from tidegate.model.errors import InputError
from tidegate.model.feed import FeedKind  # noqa: TC001 - msgspec reads it when it runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.model.panel import Panel
    from tidegate.model.paths import Paths
    from tidegate.ports import PathForecaster

HORIZON_SECONDS: Final = HOUR_SECONDS


class WithFeeds:
    """Wraps a path model; a feed that is unknown when it is needed shifts nothing, and breaks nothing."""

    def __init__(
        self,
        base: PathForecaster,
        *,
        seed: int = 0,
        horizon_seconds: int = HORIZON_SECONDS,
        grouping: Literal["server", "name", "server_or_name", "all"] = "server",
    ) -> None:
        """Take the model, how far ahead feeds are tried, and which series are tried together."""
        self._base = base
        self._seed = seed
        self._horizon_seconds = horizon_seconds
        self._grouping = grouping
        self._gains: tuple[FeedGain, ...] = ()
        self._used: tuple[Used, ...] = ()
        self._known: Mapping[str, tuple[int, np.float32]] = {}

    @property
    def gains(self) -> tuple[FeedGain, ...]:
        """What each feed was worth to each group at the last fit, on or off."""
        return self._gains

    def fit(self, panel: Panel) -> None:
        """Fit the model, on the way also on the first part of the history to see what it leaves to feeds."""
        self.judge(panel)
        self._base.fit(panel)

    def judge(self, panel: Panel) -> tuple[FeedGain, ...]:
        """Fit the model on the first part of the history, and learn and return what feeds are worth to it.

        None where the history is too short to tell, or has no feeds. To forecast, call `fit`.
        """
        self._gains, self._used, self._known = (), (), {}
        named = by_name(panel.feeds)
        horizon = max(1, round(self._horizon_seconds / panel.step_seconds))
        samples = gather(self._base, panel, horizon) if named else None
        if samples is not None:
            labels = bounded(GROUPINGS[self._grouping](panel))
            groups, group = np.unique(np.array(labels), return_inverse=True)
            ablation = Ablation(
                panel=panel,
                samples=samples,
                group=group.astype(np.int64),
                groups=tuple(str(one) for one in groups),
                seed=self._seed,
            )
            self._gains, self._used = ablation.run(named)
            self._known = {
                name: (int(at), scale)
                for name, at, scale in zip(panel.names, group, samples.scale, strict=True)
            }
        return self._gains

    def paths(self, panel: Panel, horizon_steps: int) -> Paths:
        """Return the model's paths, shifted for the series that were fitted and the feeds that are on."""
        said = self._base.paths(panel, horizon_steps)
        mine = np.array([at for at, name in enumerate(panel.names) if name in self._known], dtype=np.intp)
        if not self._used or mine.size == 0 or panel.steps == 0:
            return said
        moved = self._shift(panel.of(mine), said.quantiles[MEDIAN][:, mine])
        shifts = np.zeros(said.quantiles.shape[1:], dtype=np.float32)
        shifts[:, mine] = moved
        return replace(said, quantiles=np.clip(said.quantiles + shifts, 0, 1).astype(np.float32))

    def _shift(self, panel: Panel, median: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return by how much to shift the paths of known series: (steps, series), shares of capacity."""
        group, scale = (
            np.array(part) for part in zip(*(self._known[name] for name in panel.names), strict=True)
        )
        origins, leads = np.array([panel.steps]), np.arange(1, median.shape[0] + 1)
        whole = median[None]
        other = rest_day(panel, origins=origins, leads=leads, median=whole, scale=scale)
        known = controls(panel, origins=origins, leads=leads, median=whole, rest_day=other, scale=scale)
        bucket = bucket_of(leads, panel.step_seconds)
        present = {(one.name, one.kind): one for one in by_name(panel.feeds)}
        total = np.zeros(median.shape, dtype=np.float32)
        for used in self._used:
            named = present.get((used.name, used.kind))
            if named is not None:
                told = features(named, panel, origins=origins, leads=leads, rest_day=other)
                one = correction.shift(used.coefficients, told, known, bucket=bucket, group=group)[0]
                total += np.clip(one, -LARGEST_ERROR, LARGEST_ERROR)
        return total * scale

    def state(self) -> Mapping[str, NDArray[np.generic]]:
        """Return what was learned of feeds, and of the model where it can be saved."""
        told = _Told(
            gains=list(self._gains),
            used=[(used.name, used.kind) for used in self._used],
            names=list(self._known),
        )
        named: dict[str, NDArray[np.generic]] = {
            "told": np.frombuffer(msgspec.json.encode(told), dtype=np.uint8),
            "group": np.array([group for group, _ in self._known.values()], dtype=np.int64),
            "scale": np.array([scale for _, scale in self._known.values()], dtype=np.float32),
        }
        for at, used in enumerate(self._used):
            named[f"{at}.on"] = used.on
            named[f"{at}.of_feed"] = used.coefficients.of_feed
            named[f"{at}.of_controls"] = used.coefficients.of_controls
        base = self._base.state() if hasattr(self._base, "state") else {}
        return prefixed("feeds", named) | prefixed("base", base)

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from what `state` returned.

        Raises:
            InputError: something is missing or is of another shape.

        """
        mine = under(state, "feeds")
        try:
            told = msgspec.json.decode(part_of(mine, "told").astype(np.uint8).tobytes(), type=_Told)
        except msgspec.MsgspecError as error:
            raise InputError("the saved state of feeds can't be read; start without saved state") from error
        group, scale = part_of(mine, "group"), part_of(mine, "scale")
        if group.size != len(told.names) or scale.size != len(told.names):
            raise InputError("the saved state of feeds is not of one piece; start without saved state")
        used = tuple(
            Used(
                name=name,
                kind=kind,
                on=part_of(mine, f"{at}.on").astype(np.bool_),
                coefficients=correction.Coefficients(
                    of_feed=part_of(mine, f"{at}.of_feed").astype(np.float32),
                    of_controls=part_of(mine, f"{at}.of_controls").astype(np.float32),
                ),
            )
            for at, (name, kind) in enumerate(told.used)
        )
        if hasattr(self._base, "restore"):
            self._base.restore(under(state, "base"))
        self._gains, self._used = tuple(told.gains), used
        self._known = {name: (int(group[at]), np.float32(scale[at])) for at, name in enumerate(told.names)}


class _Told(msgspec.Struct):
    """What of the state is text."""

    gains: list[FeedGain]
    used: list[tuple[str, FeedKind]]
    names: list[str]
