"""The HTML reports: each one file that people can read without us, and without a network.

`words` says it in sentences, `figures` draws it, `page` puts both together for a replay; for models side by
side `models_words`, `models_figures` and `models_page` do. What stands in a file depends on the results
alone: no clock, no chance, so two replays of one trace give the same bytes.
"""

from __future__ import annotations

from tidegate.lab.report.page import report_html

__all__ = ["report_html"]
