"""What follows from the surroundings. Each choice says why, and a setting overrides each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from tidemill.common.config import CommonSettings
from tidemill.common.config.units import size_text
from tidemill.common.surroundings.where import Kind, Surroundings

T = TypeVar("T")

SERVICE_BYTES = 256_000_000
"""What a converter needs beside its workers."""
WORKER_BYTES = 512_000_000
"""What a source lets one document take unless it says otherwise."""
LEAST_BYTES = 128_000_000
"""A worker that has less cannot even start."""
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    value: T
    why: str
    setting: str
    """By which it is overridden."""


class NoRedis(Exception):
    """Redis is required here, and none is configured; the text says what to do."""


def choices(settings: CommonSettings, here: Surroundings) -> Iterator[Choice[str]]:
    """Those of all services, as people read them."""
    chosen = log_format(settings, here)
    yield Choice(f"{chosen.value} logs", chosen.why, chosen.setting)
    host = bind_host(settings, here)
    yield Choice(f"health on {host.value}", host.why, host.setting)
    redis = redis_required(settings, here)
    yield Choice(f"Redis is {'' if redis.value else 'not '}required", redis.why, redis.setting)


def log_format(settings: CommonSettings, here: Surroundings) -> Choice[Literal["auto", "json", "console"]]:
    """`auto` is left where a terminal decides."""
    setting = "log.format"
    if settings.log.format != "auto":
        return Choice(settings.log.format, f"{setting} says so", setting)
    if here.kind is Kind.MACHINE:
        return Choice("auto", "on one machine: for people on a terminal, JSON elsewhere", setting)
    return Choice("json", f"{_in(here)} a program collects them", setting)


def bind_host(settings: CommonSettings, here: Surroundings) -> Choice[str]:
    setting = "health.host"
    if settings.health.host != "auto":
        return Choice(settings.health.host, f"{setting} says so", setting)
    if here.kind is Kind.MACHINE:
        return Choice("127.0.0.1", "on one machine nobody else need reach it", setting)
    everywhere = "0.0.0.0"  # noqa: S104 - whoever may come there is the network's affair
    return Choice(everywhere, f"{_in(here)} probes and Prometheus come from outside", setting)


def redis_required(settings: CommonSettings, here: Surroundings) -> Choice[bool]:
    setting = "redis_required"
    if settings.redis_required is not None:
        return Choice(settings.redis_required, f"{setting} says so", setting)
    if here.kind is Kind.KUBERNETES:
        return Choice(True, "replicas on several nodes share the limits of hosts there", setting)
    return Choice(False, "replicas on one machine share the limits of hosts by files in data_dir", setting)


def require_redis(settings: CommonSettings, here: Surroundings) -> None:
    """Raises NoRedis."""
    required = redis_required(settings, here)
    if required.value and not settings.redis_url:
        raise NoRedis(
            f"Redis is required, as {required.why}, and REDIS_URL is not set: set it, or {required.setting}: false "
            "where there will never be more than one replica"
        )


def workers(setting: int, here: Surroundings) -> Choice[int]:
    """Documents converted at the same time."""
    name = "converter.workers"
    if setting:
        return Choice(setting, f"{name} says so", name)
    by_memory = max(1, (here.memory.total - SERVICE_BYTES) // WORKER_BYTES)
    if by_memory < here.cpus.count:
        why = f"{_memory(here)} have room for so many, each with {size_text(WORKER_BYTES)}"
        return Choice(by_memory, why, name)
    return Choice(here.cpus.count, f"{here.cpus.where} {here.cpus.count} processors", name)


def document_memory(setting: int | None, count: int, here: Surroundings) -> Choice[int]:
    """What one document may take at most, whatever its source allows: with more, the whole service would be killed."""
    name = "converter.document_memory"
    if setting is not None:
        return Choice(setting, f"{name} says so", name)
    share = max(LEAST_BYTES, (here.memory.total - SERVICE_BYTES) // count)
    return Choice(share // MB * MB, f"{_memory(here)}, shared by {count} workers", name)


def shows_window(wanted: bool, here: Surroundings) -> Choice[bool]:
    """Whether the browser of the scraper does."""
    name = "scraper.headless"
    if not wanted:
        return Choice(False, f"{name} says so", name)
    if here.kind is Kind.MACHINE and here.display:
        return Choice(True, f"{name} is false, and there is a display", name)
    return Choice(False, "there is no display here" if here.kind is Kind.MACHINE else f"{_in(here)} nobody looks", name)


def _in(here: Surroundings) -> str:
    return "in Kubernetes" if here.kind is Kind.KUBERNETES else "in a container"


def _memory(here: Surroundings) -> str:
    return f"{size_text(here.memory.total // MB * MB)} {here.memory.where}"
