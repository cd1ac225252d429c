"""What an operator may change for every service; services add a section of their own each."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from tidemill.common.config.channels import Channels
from tidemill.common.config.references import Secret
from tidemill.common.config.secrets import Schemes, ServerUrl
from tidemill.common.config.section import Settings
from tidemill.common.config.units import Duration
from tidemill.schedule import Cron, Schedule, find_zone

__all__ = [
    "BackupSettings",
    "CommonSettings",
    "HealthSettings",
    "LogSettings",
    "RetentionSettings",
    "Settings",
    "TelemetrySettings",
]


def _readable_cron(at: str) -> str:
    Cron.parse(at)
    return at


def _known_zone(zone: str) -> str:
    find_zone(zone)
    return zone


class LogSettings(Settings):
    """What is logged, and in which form."""

    format: Literal["auto", "json", "console"] = "auto"
    """`json` is one object a line, `console` is for people; `auto` is `console` on a terminal of one machine, `json`
    elsewhere."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is written."""


class TelemetrySettings(Settings):
    """Where traces go. Metrics need no setting: each service offers them at `/metrics` of its health port."""

    otlp_endpoint: ServerUrl | None = None
    """OTLP collector that takes traces over HTTP, for instance `http://localhost:4318`. Nothing is sent without it."""
    otlp_headers: dict[str, Secret] = Field(default_factory=dict)
    """Headers sent along, for instance `{Authorization: "Bearer ${env:OTLP_TOKEN}"}`."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of traces that is kept, decided where a trace starts: 1 keeps all, 0.1 every tenth."""


class HealthSettings(Settings):
    """The HTTP endpoints `/livez`, `/readyz`, `/startupz` and `/metrics`."""

    host: str = "auto"
    """Address to listen on; `auto` is `127.0.0.1` on one machine and in `tidemill up`, `0.0.0.0` in containers."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """One port for all services of a process; 0 takes a free one and says which."""


Keep = Annotated[Duration, Field(ge=timedelta(days=1))] | None


class RetentionSettings(Settings):
    """How long each layer is kept; without a time, for ever. What something newer refers to stays, whatever its age."""

    at: str = "30 3 * * *"
    """When what is too old goes, as a cron expression on the clock of `zone`."""
    zone: str = "UTC"
    """IANA time zone of `at`."""
    documents: Keep = None
    """Bytes in the archive of documents that no record leads back to."""
    history: Keep = None
    """What records said before; what they say now stays."""
    believed: Keep = None
    """What we believed of records once, and know better since."""
    rejected: Keep = timedelta(days=365)
    """Rows of documents that could not become records."""
    quarantine: Keep = timedelta(days=365)
    """Records that a check held and that were released or dropped; the others wait for somebody."""
    checks: Keep = timedelta(days=730)
    """What checks said of runs and of the records of documents."""
    runs: Keep = timedelta(days=730)
    """Runs that changed nothing, with their items; records lead back to the others."""
    slots: Keep = timedelta(days=730)
    """Slots that were skipped, with the reason."""
    requests: Keep = timedelta(days=730)
    """Counts of requests by host and day."""
    decisions: Keep = timedelta(days=90)
    """What each run decided about each page it follows."""
    pages: Keep = timedelta(days=365)
    """Which pages came, and what they were; their bytes are documents."""
    deliveries: Keep = timedelta(days=365)
    """Messages to people, with what was said to each attempt."""
    signals: Keep = timedelta(days=30)
    """Events as alert rules see them, counted by the minute."""
    samples: Keep = timedelta(days=30)
    """Measured values that alert rules are held against."""
    silences: Keep = timedelta(days=365)
    """Silences of alerts that are over."""
    measures: Keep = timedelta(days=730)
    """What was measured of runs and days; eighty-four days of it say what is usual."""
    reports: Keep = None
    """Reports on days and runs."""
    dead_letters: Keep = timedelta(days=90)
    """Dead letters that were replayed or dropped; the others wait for somebody."""

    _at_is_readable = field_validator("at")(_readable_cron)
    _zone_is_known = field_validator("zone")(_known_zone)

    def keep(self, layer: str) -> timedelta | None:
        """How long this layer is kept; None for ever."""
        keep: timedelta | None = getattr(self, layer, None)
        return keep

    def schedule(self) -> Schedule:
        return Schedule(timing=Cron.parse(self.at), zone=find_zone(self.zone))


class BackupSettings(Settings):
    """Backups that are made by themselves. `tidemill up` makes them; elsewhere a timer calls `tidemill backup`."""

    folder: Path | None = None
    """Folder for backups, on another disk than `data_dir`. Without it none is made by itself."""
    at: str = "15 2 * * *"
    """When one is made, as a cron expression on the clock of `zone`."""
    zone: str = "UTC"
    """IANA time zone of `at`."""
    keep: Annotated[Duration, Field(ge=timedelta(days=1))] = timedelta(days=14)
    """How long one is kept; the newest good one always is."""
    recipients: tuple[str, ...] = ()
    """Who may read them: age recipients (`age1…`). Without any they are not encrypted."""

    _at_is_readable = field_validator("at")(_readable_cron)
    _zone_is_known = field_validator("zone")(_known_zone)

    def schedule(self) -> Schedule:
        return Schedule(timing=Cron.parse(self.at), zone=find_zone(self.zone))


class CommonSettings(Settings):
    """Top level of `tidemill.yaml`."""

    data_dir: Path = Path("data")
    """Folder for everything that is kept on this machine; relative to the folder of `tidemill.yaml`."""
    runs_in: Literal["auto", "machine", "container", "kubernetes"] = "auto"
    """Where services run; `auto` looks. What follows from it, `tidemill doctor` says."""
    sources_dir: Path = Path("sources")
    """Folder with the source files; relative to the folder of `tidemill.yaml`."""
    nats_url: Annotated[ServerUrl, Schemes("nats", "tls", "ws", "wss")] | None = None
    """NATS server or servers, separated by commas; `?tls_ca=/file` names the certificate of a private authority,
    `tls_cert` and `tls_key` our own. Without it `tidemill up` starts one under `data_dir`."""
    stream_replicas: Annotated[int, Field(ge=1, le=5)] = 1
    """On how many servers of a NATS cluster each stream is kept, for instance 3. More than one needs a cluster."""
    database_url: Annotated[ServerUrl, Schemes("postgresql", "postgres")] | None = None
    """Postgres, as `postgresql://user:password@host/database`. Without it `tidemill up` starts one under `data_dir`."""
    redis_url: Annotated[ServerUrl, Schemes("redis", "rediss", "unix")] | None = None
    """Redis for caches and limits shared by replicas on several machines. Without it each machine keeps its own."""
    redis_required: bool | None = None
    """Whether a service refuses to start without Redis; unless it is said, in Kubernetes only."""
    archive_url: Annotated[ServerUrl, Schemes("file", "s3", "gs", "az", "memory")] | None = None
    """Where the bytes of documents are kept: `file:///folder` or `s3://bucket/prefix`. Without it `archive` under
    `data_dir`."""
    shutdown_after: Duration = timedelta(seconds=20)
    """Limit for finishing the work in hand after SIGTERM or Ctrl-C; what is left is given back and done later."""
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    health: HealthSettings = HealthSettings()
    retention: RetentionSettings = RetentionSettings()
    backup: BackupSettings = BackupSettings()
    channels: Channels = Field(default_factory=dict)
    """Ways in which people are told of alerts and sent reports, each under a name."""
