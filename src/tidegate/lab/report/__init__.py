"""The HTML report of a replay: one file that people can read without us, and without a network.

`words` says it in sentences, `figures` draws it, `page` puts both together. What stands in the file
depends on the results alone: no clock, no chance, so two replays of one trace give the same bytes.
"""

from __future__ import annotations

from tidegate.lab.report.page import report_html

__all__ = ["report_html"]
