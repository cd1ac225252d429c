"""Answers worth keeping for a while, in this process or in Redis."""

from tidemill.common.cache.cache import Cache, Found, open_cache
from tidemill.common.cache.process import InProcessCache

__all__ = ["Cache", "Found", "InProcessCache", "open_cache"]
