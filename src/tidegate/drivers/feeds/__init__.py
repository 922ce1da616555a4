"""The outside world as feeds: weather, events, holidays, links, and any named series, read from files.

`read_feeds` takes what an operator writes; each reader turns one file into `Feed` records and keeps nothing.
"""

from tidegate.drivers.feeds.spec import read_feeds

__all__ = ["read_feeds"]
