"""How the agent of this machine ends: whatever became of it, its owner's settings are back."""

from __future__ import annotations

import pytest

from tidegate.agents.together.together import _end_machine
from tidegate.app.machine import MachineOptions
from tidegate.drivers.local.ledger import Change, Ledger, boot_identifier
from tidegate.drivers.local.outside import Outside
from tidegate.model.errors import TidegateError


class Ended:
    """An agent that ends with an error."""

    def end(self):
        raise TidegateError("it broke")


def test_an_agent_that_ends_with_an_error_leaves_no_setting_changed(tmp_path):
    setting = tmp_path / "memory.high"
    setting.write_text("1000\n")
    options = MachineOptions(
        policy="static", step_seconds=1, acts=True, chosen=(), ledger=tmp_path / "limits.json"
    )
    ledger = Ledger(options.ledger, boot=boot_identifier(Outside().root))
    ledger.note([Change(file=str(setting), before="max", after="1000")])
    ledger.close()
    with pytest.raises(TidegateError, match="it broke"):
        _end_machine(Ended(), options)
    assert setting.read_text().strip() == "max"
