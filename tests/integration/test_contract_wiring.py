"""What services really subscribe to and publish is what the contracts say."""

import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "proto-schemas"))

import contracts as proto

from tidemill.common.archive import Archive
from tidemill.common.bus.bus import Bus
from tidemill.common.bus.topology import STREAMS, durables, ensure_consumers, ensure_topology
from tidemill.common.cache import open_cache
from tidemill.common.config import Sources, load_config
from tidemill.common.database import open_engine
from tidemill.common.migrations import migrate
from tidemill.common.service import Context, ServiceSpec, Wiring, find_services
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.tracing import Telemetry

pytestmark = pytest.mark.servers

CONTRACTS = proto.contracts(proto.compile_protos())
NAME = re.compile(r"\{\w+\}")
LANE = re.compile(r"(document\.stored)\.(hi|lo)\.")
"""Who asks for the lanes one by one has all of them."""
SPECS = {spec.name: spec for spec in find_services()}


async def opened(spec: ServiceSpec, folder: Path, nats_url: str, database_url: str) -> AsyncIterator[Wiring]:
    """The wiring that the service itself makes, on real servers."""
    await migrate(database_url, [spec])
    config = load_config(folder, services={spec.name: spec.settings})
    engine = open_engine(database_url)
    async with (
        Telemetry.open(spec.name, spec.version) as telemetry,
        Archive.open(f"file://{folder}/archive") as archive,
        Bus.open(
            nats_url, service=spec.name, version=spec.version, engine=engine, tables=spec.tables, telemetry=telemetry
        ) as bus,
        spec.open(
            Context(
                config=config,
                settings=config.service(spec.name),
                sources=Sources(),
                bus=bus,
                engine=engine,
                database_url=database_url,
                archive=archive,
                cache=open_cache(None, telemetry.metrics),
                telemetry=telemetry,
                log=get_logger(spec.name),
            )
        ) as wiring,
    ):
        yield wiring
    await engine.dispose()


@pytest.mark.parametrize("name", sorted(SPECS))
async def test_a_service_consumes_and_publishes_what_its_contracts_say(
    name: str, tmp_path: Path, nats_url: str, database_url: str
) -> None:
    async for wiring in opened(SPECS[name], tmp_path, nats_url, database_url):
        consumes = {durable: step.event for step in wiring.steps for durable in durables(step)}
    uses = SPECS[name].uses
    assert uses.consumes == consumes
    assert {event.__name__ for event in consumes.values()} == {
        contract.name for contract in CONTRACTS if name in contract.consumers
    }
    assert {event.__name__ for event in uses.publishes} == {
        contract.name for contract in CONTRACTS if name in contract.producers
    }


async def test_real_consumers_have_the_subjects_of_the_contracts(
    tmp_path: Path, nats_url: str, database_url: str
) -> None:
    connection = await nats.connect(nats_url)
    js = connection.jetstream()
    await ensure_topology(js)
    found = set()
    for spec in SPECS.values():
        async for wiring in opened(spec, tmp_path, nats_url, database_url):
            for step in wiring.steps:
                await ensure_consumers(js, step)
    for stream in {contract.stream for contract in CONTRACTS}:
        for consumer in await js.consumers_info(stream):
            subject = LANE.sub(r"\1.*.", str(consumer.config.filter_subject))
            found.add((consumer.name.partition("-")[0], stream, subject))
    await connection.close()
    expected = {
        (service, contract.stream, NAME.sub("*", contract.subject))
        for contract in CONTRACTS
        for service in contract.consumers
    }
    assert found == expected


def test_every_contract_lives_in_a_stream_that_takes_its_subject() -> None:
    subjects = {stream.name: stream.subjects for stream in STREAMS}
    for contract in CONTRACTS:
        assert any(contract.subject.startswith(pattern.rstrip(">*")) for pattern in subjects[contract.stream])


def test_services_in_contracts_exist() -> None:
    named = {name for contract in CONTRACTS for name in (*contract.producers, *contract.consumers)} - {"*"}
    assert named == set(SPECS)
