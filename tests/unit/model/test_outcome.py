"""Outcomes: several become one, in their order."""

from __future__ import annotations

import numpy as np

from tidegate.model.outcome import Outcome, Phase, all_confirmed


def outcome(*ids):
    count = len(ids)
    return Outcome(
        workload_id=np.array(ids, dtype=np.int64),
        resource_row=np.arange(count, dtype=np.uint8),
        share=np.zeros(count, dtype=np.uint8),
        phase=np.full(count, Phase.PARTIAL, dtype=np.uint8),
        amount_read_back=np.array(ids, dtype=np.float32) / 2,
    )


def test_none_is_nothing_and_one_is_itself():
    assert len(all_confirmed([])) == 0
    assert all_confirmed([]).amount_read_back.dtype == np.float32
    only = outcome(4, 5)
    assert all_confirmed([only]) is only


def test_several_keep_their_order_and_their_columns():
    joined = all_confirmed([outcome(7), outcome(), outcome(3, 4)])
    assert joined.workload_id.tolist() == [7, 3, 4]
    assert joined.resource_row.tolist() == [0, 0, 1]
    assert joined.amount_read_back.tolist() == [3.5, 1.5, 2.0]
    assert joined.phase.tolist() == [Phase.PARTIAL] * 3
