"""Opens and wires the alerter."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

from tidemill.alerter import standby
from tidemill.alerter.commands import Commands
from tidemill.alerter.measures.gather import Gathering
from tidemill.alerter.measures.shown import Shown
from tidemill.alerter.policy import Policy, unreachable
from tidemill.alerter.retention import LAYERS
from tidemill.alerter.rounds import Rounds, utc_now
from tidemill.alerter.settings import AlerterSettings
from tidemill.alerter.steps import CONSUMES, steps
from tidemill.alerter.tables import bus, deliveries, metadata
from tidemill.common.channels import Deliveries, Heartbeat, Senders
from tidemill.common.config import ConfigError, Sources
from tidemill.common.config.channels import Channel
from tidemill.common.config.errors import DEFAULT, Problem, dotted
from tidemill.common.events import AlertAcknowledged, AlertFired, AlertResolved
from tidemill.common.service import EVERY, Context, ServiceSpec, Uses, Wiring, main


@asynccontextmanager
async def open_alerter(context: Context) -> AsyncIterator[Wiring]:
    settings = context.settings
    assert isinstance(settings, AlerterSettings)
    channels = context.config.common.channels
    check_channels(settings, channels)
    policy = Policy.of(settings)
    wanted = frozenset(rule.measure for rule in policy.rules.values() if rule.measure)
    gathering = Gathering(context.bus, context.engine, context.config, context.sources, wanted, utc_now)
    metrics = context.telemetry.metrics
    shown = Shown(metrics)

    async def take(sources: Sources) -> None:
        gathering.take(sources)

    async with AsyncExitStack() as stack:
        senders = await stack.enter_async_context(Senders(channels))
        sending = Deliveries(context.engine, deliveries, senders, metrics, transaction=context.bus.transaction)
        rounds = Rounds(
            context.bus,
            context.engine,
            sending,
            gathering.gather,
            policy,
            metrics,
            every=settings.look_every,
            show=lambda: shown.show(gathering.seen, gathering.consumers, gathering.streams),
            hide=shown.clear,
        )
        standby.keep(context.config.common.data_dir, settings, channels)
        heartbeat = Heartbeat(settings.heartbeat, metrics, rounds.what_is_wrong)
        stack.push_async_callback(heartbeat.close)
        yield Wiring(
            steps=steps(),
            commands=Commands(sending, utc_now).commands(),
            tasks=(rounds.run, sending.run, heartbeat.run),
            reconfigure=take,
            layers=LAYERS,
        )


def check_channels(settings: AlerterSettings, channels: Mapping[str, Channel]) -> None:
    """Raises ConfigError for routes that nobody would hear."""
    wrong = unreachable(settings, channels)
    if wrong:
        raise ConfigError([Problem(DEFAULT, dotted(("alerter", *path)), says) for path, says in wrong.items()])


SPEC = ServiceSpec(
    name="alerter",
    version=version("tidemill-alerter"),
    title="Tells the right person once, soon, with the cause",
    settings=AlerterSettings,
    metadata=metadata,
    tables=bus,
    migrations="tidemill.alerter.migrations",
    uses=Uses(consumes=CONSUMES, publishes=(AlertFired, AlertResolved, AlertAcknowledged), sees_queues=True),
    reads=(EVERY,),
    open=open_alerter,
    beside=standby.watch,
)


def run() -> None:
    main(SPEC)
