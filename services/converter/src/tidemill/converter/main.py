"""Opens and wires the converter."""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

from tidemill.common.service import Context, ServiceSpec, Wiring, main
from tidemill.common.telemetry.metrics import WORKER_RESTARTS, WORKERS_BUSY
from tidemill.converter.convert import convert
from tidemill.converter.converters import find_converters
from tidemill.converter.datasets import find_datasets, register_datasets
from tidemill.converter.policy import Wear
from tidemill.converter.routes import find_routes
from tidemill.converter.settings import ConverterSettings
from tidemill.converter.steps import PUBLISHES, converter_step
from tidemill.converter.tables import bus, metadata
from tidemill.converter.workers import Workers


@asynccontextmanager
async def open_converter(context: Context) -> AsyncIterator[Wiring]:
    settings = context.settings
    assert isinstance(settings, ConverterSettings)
    slots = settings.workers or os.cpu_count() or 1
    wear = Wear(documents=settings.recycle_after, memory_bytes=settings.recycle_above)
    metrics = context.telemetry.metrics
    datasets = await register_datasets(context.engine, find_datasets())
    for sentence in datasets.stale_views:
        context.log.warning(sentence)
    with tempfile.TemporaryDirectory(prefix="tidemill-converter-") as folder:
        async with Workers(
            slots,
            spare=settings.spare_workers,
            wear=wear,
            on_busy=metrics.of(WORKERS_BUSY).set,
            on_replaced=lambda reason: metrics.of(WORKER_RESTARTS, reason=reason).inc(),
        ) as workers:
            routes = await find_routes(context.sources, find_converters(), workers, settings.max_size)
            for source, route in routes.items():
                if isinstance(route, str):
                    context.log.error("documents of this source cannot be converted", source=source, reason=route)
            work = partial(
                convert,
                routes=routes,
                workers=workers,
                archive=context.archive,
                folder=Path(folder),
                datasets=datasets,
            )
            step = converter_step(work, routes, slots=slots, datasets=datasets, metrics=metrics)
            yield Wiring(steps=(step,), publishes=PUBLISHES)


SPEC = ServiceSpec(
    name="converter",
    version=version("tidemill-converter"),
    title="Turns documents into versioned records",
    settings=ConverterSettings,
    metadata=metadata,
    tables=bus,
    migrations="tidemill.converter.migrations",
    open=open_converter,
)


def run() -> None:
    main(SPEC)
