"""Opens and wires the converter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from tidemill.common.config import Sources
from tidemill.common.config.checks import Check
from tidemill.common.service import Context, ServiceSpec, Wiring, main
from tidemill.common.surroundings import document_memory, surroundings
from tidemill.common.surroundings import workers as workers_of
from tidemill.common.telemetry.metrics import WORKER_RESTARTS, WORKERS_BUSY
from tidemill.converter.aliases import Aliases
from tidemill.converter.convert import convert
from tidemill.converter.converters import find_converters
from tidemill.converter.datasets import find_datasets, find_vocabularies, register_datasets
from tidemill.converter.enrichment import Enrichments
from tidemill.converter.geocoder import name_of, open_geocoder
from tidemill.converter.geodata import ReferenceData
from tidemill.converter.judging import pointless
from tidemill.converter.names import Names
from tidemill.converter.pairs import Pairs
from tidemill.converter.policy import Wear
from tidemill.converter.reconvert import Reconversions
from tidemill.converter.release import Quarantine
from tidemill.converter.retention import Undertaker, layers
from tidemill.converter.routes import Route, complaint, find_routes, unusable_routes
from tidemill.converter.run_checks import Judges, run_step
from tidemill.converter.scratch import open_scratch
from tidemill.converter.settings import ConverterSettings
from tidemill.converter.steps import USES, converter_step, gone_step, record_parts
from tidemill.converter.tables import bus, metadata
from tidemill.converter.workers import Workers


@asynccontextmanager
async def open_converter(context: Context) -> AsyncIterator[Wiring]:
    settings = context.settings
    assert isinstance(settings, ConverterSettings)
    here = surroundings(context.config.common)
    slots = workers_of(settings.workers, here).value
    most = document_memory(settings.document_memory, slots, here).value
    wear = Wear(documents=settings.recycle_after, memory_bytes=settings.recycle_above)
    metrics = context.telemetry.metrics
    datasets = await register_datasets(context.engine, find_datasets())
    for sentence in datasets.stale_views:
        context.log.warning(sentence)
    names = Names(context.engine, context.cache, find_vocabularies())
    await names.register()
    with open_scratch() as folder:
        async with (
            Workers(
                slots,
                spare=settings.spare_workers,
                wear=wear,
                on_busy=metrics.of(WORKERS_BUSY).set,
                on_replaced=lambda reason: metrics.of(WORKER_RESTARTS, reason=reason).inc(),
            ) as workers,
            open_geocoder(context, settings.geocoder) as geocoding,
        ):
            routes: dict[str, Route | str | None] = {}
            checks: dict[str, tuple[Check, ...]] = {}
            judges: dict[str, Judges] = {}

            async def reconfigure(sources: Sources) -> None:
                """Documents at work keep the route they have."""
                found = await find_routes(sources, find_converters(), workers, settings.max_size, most)
                routes.clear()
                routes.update(found)
                checks.clear()
                checks.update({name: source.checks_of_converter for name, source in sources.items()})
                judges.clear()
                judges.update({name: Judges.of(source) for name, source in sources.items()})
                for source, why in unusable_routes(routes).items():
                    context.log.error("documents of this source cannot be converted", source=source, reason=why)

            await reconfigure(context.sources)
            enrichments = Enrichments(
                context.engine,
                context.archive,
                datasets,
                folder / "reference",
                allowed=context.bus.control.wait_until_allowed,
                rest=context.bus.rest,
                asks=name_of(settings.geocoder),
            )
            await enrichments.register()
            work = partial(
                convert,
                routes=routes,
                workers=workers,
                archive=context.archive,
                folder=folder,
                datasets=datasets,
                names=names,
                enrichments=enrichments,
                checks=checks,
                tell=context.bus.progress,
            )
            record = partial(record_parts, datasets=datasets, names=names, metrics=metrics)
            # One more than work: a slot of the lower lane's would wait for what may come in the higher one.
            step = converter_step(work, record, routes, slots=slots + 1)
            reconversions = Reconversions(
                context.engine, context.bus.control, context.bus.rest, work, datasets, names, metrics
            )

            async def unusable() -> str | None:
                return complaint(routes)

            def complaints() -> dict[str, str]:
                """Routes that lead nowhere, and checks that cannot fail."""
                found = unusable_routes(routes)
                for name, route in routes.items():
                    if isinstance(route, Route) and (why := pointless(checks.get(name, ()), route.datasets, datasets)):
                        found[name] = why
                return found

            yield Wiring(
                steps=(step, gone_step(datasets, metrics), run_step(context.engine, datasets, judges.get)),
                commands=(
                    *Aliases(names.vocabularies).commands(),
                    *reconversions.commands(),
                    *Quarantine(checks, datasets, names, metrics).commands(),
                    *ReferenceData(context.archive).commands(),
                    *Pairs(datasets).commands(),
                ),
                tasks=(
                    reconversions.run,
                    Undertaker(context.engine, context.archive).run,
                    enrichments.run,
                    *geocoding,
                ),
                layers=layers({datasets.id(name): name for name in datasets}),
                checks={"sources": unusable, "enrichers": enrichments.complaint},
                reconfigure=reconfigure,
                complaints=complaints,
            )


SPEC = ServiceSpec(
    name="converter",
    version=version("tidemill-converter"),
    title="Turns documents into versioned records",
    settings=ConverterSettings,
    metadata=metadata,
    tables=bus,
    migrations="tidemill.converter.migrations",
    uses=USES,
    open=open_converter,
)


def run() -> None:
    main(SPEC)
