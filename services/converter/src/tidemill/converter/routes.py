"""What becomes of the documents of each source: which converter takes them, and within which limits."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tidemill.common.config.sources import SourceFile, Sources
from tidemill.converter.converters import Converters
from tidemill.converter.errors import UnknownSource, UnusableConverter
from tidemill.converter.frames import BATCH_BYTES, BATCH_ITEMS
from tidemill.converter.policy import Limits
from tidemill.converter.workers import ConverterUnusable, Description, WorkerLost, Workers


@dataclass(frozen=True, slots=True)
class Route:
    converter: str
    version: str
    """The converter's, and its options' hash: other options give other records."""
    reference: str
    options: Mapping[str, Any]
    limits: Limits
    datasets: tuple[str, ...] = ()
    """That its records belong to; `*` when the options decide."""

    @property
    def parts_version(self) -> str:
        """Conversions with another one have other parts."""
        return f"{self.converter}-{self.version}-{BATCH_ITEMS}-{BATCH_BYTES}"


Routes = Mapping[str, Route | str | None]
"""By source: the route; a sentence that says why there is none; None where documents are only kept."""


async def find_routes(
    sources: Sources, converters: Converters, workers: Workers, max_size: int, max_memory: int
) -> Routes:
    """Raises WorkerLost."""
    return {name: await _route(source, converters, workers, max_size, max_memory) for name, source in sources.items()}


def get_route(routes: Routes, source: str) -> Route | None:
    """None where the documents of this source are only kept. Raises UnknownSource, Poison."""
    if source not in routes:
        raise UnknownSource(f"there is no source file {source}.yaml; there are: {', '.join(sorted(routes)) or 'none'}")
    route = routes[source]
    if isinstance(route, str):
        raise UnusableConverter(f"{source}.yaml: {route}")
    return route


def complaint(routes: Routes) -> str | None:
    """Which sources' documents cannot be converted, and why."""
    return "; ".join(f"{name}.yaml: {why}" for name, why in unusable_routes(routes).items()) or None


def unusable_routes(routes: Routes) -> dict[str, str]:
    return {name: route for name, route in routes.items() if isinstance(route, str)}


async def _route(
    source: SourceFile, converters: Converters, workers: Workers, max_size: int, max_memory: int
) -> Route | str | None:
    convert, options = source.convert, source.convert_options
    if convert is None:
        return None
    reference = converters.get(convert.with_)
    if reference is None:
        return f"converter {convert.with_!r} is not installed; installed: {', '.join(converters)}"
    try:
        description = await _describe(workers, reference, options)
    except ConverterUnusable as error:
        return str(error)
    limits = Limits(
        memory_bytes=min(convert.limits.memory, max_memory),
        cpu=convert.limits.cpu,
        time=convert.limits.time,
        pages=convert.limits.pages,
        size_bytes=max_size,
    )
    version = description.version + _suffix(options)
    return Route(convert.with_, version, reference, options, limits, description.datasets)


async def _describe(workers: Workers, reference: str, options: Mapping[str, Any]) -> Description:
    """A worker that is killed meanwhile does not speak against the converter: another one is asked. Raises WorkerLost
    when that goes on, so that the service starts anew instead of refusing every document."""
    for _ in range(2):
        try:
            return await workers.describe(reference, options)
        except WorkerLost:
            continue
    return await workers.describe(reference, options)


def _suffix(options: Mapping[str, Any]) -> str:
    if not options:
        return ""
    return "+" + hashlib.sha256(orjson.dumps(options, option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]
