from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tidegate.lab.describe import autocorrelation, describe, time_of_day_ratio
from tidegate.model.resources import Resource
from tidegate.model.trace import Trace
from tidegate.sim.traces import load_trace

STEP = 3600
DAYS = 15
TICKS = 24 * DAYS
SLOTS = np.arange(TICKS) % 24


def trace_of(used: np.ndarray, capacity: np.ndarray | None = None, *, servers: tuple[str, ...] = ()) -> Trace:
    """A trace of CPU from usage of shape (ticks, vms)."""
    return Trace(
        name="made",
        start_seconds=0,
        step_seconds=STEP,
        resources=(Resource.CPU,),
        vms=tuple(f"vm{number}" for number in range(used.shape[1])),
        servers=servers,
        used=used[None].astype(np.float32),
        capacity=(np.where(np.isnan(used), np.nan, 4.0) if capacity is None else capacity)[None],
        vms_without_capacity=2,
    )


def test_a_pure_day_is_explained_by_the_time_of_day_and_repeats_each_day():
    wave = np.sin(2 * np.pi * np.arange(TICKS) / 24)[:, None] + 2
    assert time_of_day_ratio(wave, SLOTS) == pytest.approx([1.0])
    assert autocorrelation(wave, lag=24) == pytest.approx([1.0])
    assert autocorrelation(wave, lag=12) == pytest.approx([-1.0])


def test_noise_is_explained_by_chance_only_and_does_not_repeat():
    noise = np.random.default_rng(1).normal(size=(TICKS, 400))
    assert np.median(time_of_day_ratio(noise, SLOTS)) == pytest.approx(23 / (TICKS - 1), rel=0.1)
    assert abs(np.median(autocorrelation(noise, lag=24))) < 0.02


def test_it_is_the_textbook_formula_on_complete_samples():
    used = np.random.default_rng(2).gamma(2.0, size=(TICKS, 3))
    for lag in (1, 24):
        centred = used - used.mean(axis=0)
        expected = (centred[lag:] * centred[:-lag]).mean(axis=0) / centred.var(axis=0)
        assert autocorrelation(used, lag=lag) == pytest.approx(expected)
    by_hour = used.reshape(DAYS, 24, 3)
    residual = ((by_hour - by_hour.mean(axis=0)) ** 2).sum(axis=(0, 1))
    expected = 1 - residual / (used.var(axis=0) * TICKS)
    assert time_of_day_ratio(used, SLOTS) == pytest.approx(expected)


def test_gaps_do_not_count():
    rng = np.random.default_rng(3)
    used = np.sin(2 * np.pi * np.arange(TICKS) / 24)[:, None] * np.ones((1, 5)) + 2
    used[rng.random(used.shape) < 0.3] = np.nan
    assert time_of_day_ratio(used, SLOTS) == pytest.approx([1.0] * 5)
    assert autocorrelation(used, lag=24) == pytest.approx([1.0] * 5, abs=0.1)


def test_too_little_says_nothing():
    constant = np.full((TICKS, 1), 0.1)
    young = np.full((TICKS, 1), np.nan)
    young[:30] = np.arange(30)[:, None]
    for used in (constant, young, np.full((TICKS, 1), np.nan)):
        assert np.isnan(time_of_day_ratio(used, SLOTS)).all()
        assert np.isnan(autocorrelation(used, lag=24)).all()
    assert np.isnan(autocorrelation(constant, lag=TICKS)).all()


def test_a_description_counts_what_is_there():
    used = np.random.default_rng(4).uniform(0.5, 1.5, size=(TICKS, 4))
    used[: TICKS // 2, 0] = np.nan
    used[:, 3] = 1.0
    said = describe(trace_of(used, servers=("s1", "s1", "s2", "")))
    assert (said.ticks, said.vms, said.vms_without_capacity, said.servers) == (TICKS, 4, 2, 2)
    assert said.span_seconds == DAYS * 86_400
    assert said.completeness_ratio == pytest.approx(7 / 8)
    (cpu,) = said.resources
    assert (cpu.resource, cpu.unit, cpu.vms_varying) == ("cpu", "cores", 3)
    assert cpu.samples == np.isfinite(used).sum()
    assert cpu.used_mean == pytest.approx(np.nanmean(used))
    assert cpu.use_ratio == pytest.approx(np.nanmean(used) / 4)
    assert cpu.autocorrelation_hour == cpu.autocorrelation_step


def test_what_a_trace_cannot_say_is_none():
    used = np.random.default_rng(5).uniform(size=(30, 2))
    (cpu,) = describe(trace_of(used, np.full((30, 2), np.nan))).resources
    assert cpu.use_ratio is None
    assert cpu.autocorrelation_step is not None
    assert cpu.autocorrelation_day is None
    assert cpu.autocorrelation_week is None
    assert cpu.time_of_day_ratio_p50 is None
    (cpu,) = describe(trace_of(np.full((30, 2), np.nan))).resources
    assert cpu.used_mean is None
    assert cpu.samples == 0


def test_blocks_of_vms_do_not_show(monkeypatch):
    trace = trace_of(np.random.default_rng(6).uniform(size=(TICKS, 7)))
    whole = describe(trace)
    monkeypatch.setattr("tidegate.lab.describe._BLOCK_CELLS", 2 * TICKS)
    (one,), (other,) = whole.resources, describe(trace).resources
    for figure in dataclasses.fields(one):
        value = getattr(one, figure.name)
        assert getattr(other, figure.name) == (value if isinstance(value, str) else pytest.approx(value))


@pytest.mark.shared
def test_real_vms_are_as_little_predictable_as_published(shared_traces):
    path = shared_traces / "bitbrains/2013-08-vms-001-250.parquet"
    trace = load_trace([path], resources=(Resource.CPU,))
    used = trace.used[0]
    # Those that average more than 50 MHz; a core of this archive has about 2 600.
    busy = used[:, np.nanmean(used, axis=0) > 50 / 2600]
    slots = np.arange(trace.ticks) % 288
    assert np.nanmedian(time_of_day_ratio(busy, slots)) == pytest.approx(0.06, abs=0.03)
    for lag, published in ((1, 0.76), (12, 0.45), (288, 0.21), (2016, 0.07)):
        assert np.nanmedian(autocorrelation(busy, lag=lag)) == pytest.approx(published, abs=0.08)
