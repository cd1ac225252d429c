"""Where this process runs, and what follows from it."""

from tidemill.common.surroundings.choices import (
    Choice,
    NoRedis,
    bind_host,
    choices,
    document_memory,
    log_format,
    redis_required,
    require_redis,
    shows_window,
    workers,
)
from tidemill.common.surroundings.where import Kind, Surroundings, surroundings

__all__ = [
    "Choice",
    "Kind",
    "NoRedis",
    "Surroundings",
    "bind_host",
    "choices",
    "document_memory",
    "log_format",
    "redis_required",
    "require_redis",
    "shows_window",
    "surroundings",
    "workers",
]
