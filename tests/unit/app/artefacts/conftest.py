"""A store of small models, and the record that earns one a place."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.app.artefacts import Block, Card, Data, ModelStore, Record, Score
from tidegate.testing import ManualClock

START = 1_704_067_200
"""2024-01-01 00:00 UTC."""


@pytest.fixture
def clock():
    return ManualClock(START)


@pytest.fixture
def store(tmp_path, clock):
    return ModelStore(tmp_path / "models", clock)


@pytest.fixture
def card():
    def card(name, **changes):
        fields = {
            "name": name,
            "kind": "tiny",
            "resource": "cpu",
            "step_seconds": 300,
            "data": Data(traces=("a.parquet",), series=3, start="2024-01-01T00:00:00Z", end="x", rows=900),
            "seed": 7,
            "commit": "0" * 40,
            "scores": (
                Score(
                    horizon_seconds=3600, origins=4, samples=99, wql=0.25, mase_median=0.5, mase_left_out=1,
                    coverage={"0.9": 0.875, "0.95": 0.9375, "0.99": 1.0},
                ),
            ),
            "inference_seconds_per_series": 0.001,
            "created": "2024-01-31T00:00:00Z",
            "notes": "for tests",
        }  # fmt: skip
        return Card(**{**fields, **changes})

    return card


@pytest.fixture
def weights():
    rng = np.random.default_rng(3)
    return {
        "layers.0": rng.normal(size=(4, 3)).astype(np.float32),
        "mean": np.array(0.5),
        "seen": np.array([True, False]),
        "steps": np.arange(5),
    }


@pytest.fixture
def add(store, card, weights, clock):
    def add(name, **changes):
        clock.advance(60)
        return store.add(card(name, **changes), weights)

    return add


@pytest.fixture
def stage(store):
    def stage(name):
        return {one.name: one.life.stage for one in store.held() if one.life is not None}.get(name)

    return stage


@pytest.fixture
def earn(store):
    """Write a record for a model in shadow, against whoever is active."""

    def earn(name, *, ratio=0.8, samples=4_000, blocks=(), **changes):
        lives = {one.name: one.life for one in store.held()}
        slot = lives[name].slot
        active = [life for life in lives.values() if life.stage == "active" and life.slot == slot]
        fields = {
            "weights_sha256": lives[name].weights_sha256,
            "against": active[0].name if active else None,
            "against_sha256": active[0].weights_sha256 if active else None,
            "since": "2024-02-01T00:00:00Z",
            "until": "2024-02-08T00:00:00Z",
            "samples": samples,
            "loss_sum": 100 * ratio,
            "active_loss_sum": 100.0,
            "blocks": tuple(
                Block(samples=samples // len(blocks), loss_sum=mine, active_loss_sum=theirs)
                for mine, theirs in blocks
            ),
        }
        if blocks:
            fields["samples"] = samples // len(blocks) * len(blocks)
            fields["loss_sum"], fields["active_loss_sum"] = map(sum, zip(*blocks, strict=True))
        record = Record(**{**fields, **changes})
        store.write_record(name, record)
        return record

    return earn


@pytest.fixture
def activate(store, earn, clock):
    def activate(name):
        store.promote(name)
        earn(name)
        clock.advance(60)
        return store.promote(name)

    return activate
