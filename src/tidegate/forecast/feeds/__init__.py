"""Outside knowledge in forecasts: feeds aligned without a look ahead, tested, and used only where they help.

`WithFeeds` wraps any path model; `ablation` decides where a feed may speak, `alignment` what it may know.
"""

from tidegate.forecast.feeds.ablation import FeedGain
from tidegate.forecast.feeds.with_feeds import WithFeeds

__all__ = ["FeedGain", "WithFeeds"]
