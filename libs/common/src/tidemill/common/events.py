"""The facts that services state, as they are on the wire. The contract is `proto-schemas/`; a test holds both equal."""

from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Base64Bytes, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

Int64 = Annotated[int, PlainSerializer(str, return_type=str, when_used="json")]
"""proto3 JSON writes 64-bit integers as strings and reads both."""


class Message(BaseModel):
    """A frozen proto3 message; unknown fields are ignored, so that versions N and N-1 understand each other.

    proto3 leaves out zero, false and empty: a field that may hold them has that default.
    """

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Event(Message):
    """A fact in the past tense. `{name}` in a subject is filled from the field of that name."""

    subject: ClassVar[str]
    stream: ClassVar[str]

    source: str

    def subject_filled(self) -> str:
        return self.subject.format(**{name: getattr(self, name) for name in type(self).model_fields})

    def to_json(self) -> bytes:
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


class DocumentStored(Event):
    """Bytes are in the archive and nobody has converted them yet."""

    subject = "tidemill.document.stored.{lane}.{source}"
    stream = "DOCUMENTS"

    lane: str = "lo"
    """`hi` overtakes `lo`."""
    sha256: str
    size_bytes: Int64 = 0
    name: str
    """File name, without folders."""
    path: str = ""
    """Where it was found, for people."""
    run: str
    received_at: AwareDatetime
    modified_at: AwareDatetime | None = None
    """The source's own time of the bytes (mtime, Last-Modified)."""
    tags: tuple[str, ...] = ()
    item: str = ""
    """Of the run's plan."""
    previous_sha256: str = ""
    """What the item held before, where it is known; empty: nothing."""
    requests: int = 0
    bytes_received: Int64 = 0
    """Over the network, repeats included."""
    context: dict[str, str] = Field(default_factory=dict)
    """What the place that linked to it said of it, by the names of the source file."""
    reappeared: bool = False
    """The item was gone, and is there again."""


class DocumentUnchanged(Event):
    """Known bytes came again; nothing is to be done."""

    subject = "tidemill.document.unchanged.{source}"
    stream = "DOCUMENTS"

    sha256: str
    size_bytes: Int64 = 0
    name: str
    path: str = ""
    run: str
    duplicate_of: str
    """Name under which these bytes came first."""
    received_at: AwareDatetime
    item: str = ""
    requests: int = 0
    bytes_received: Int64 = 0
    """0 where the site said "not modified"."""


class DocumentRefused(Event):
    """Something arrived that may not be stored."""

    subject = "tidemill.document.refused.{source}"
    stream = "DOCUMENTS"

    name: str
    path: str = ""
    size_bytes: Int64 = 0
    run: str
    reason: str
    """Slug that can be counted: too_large, too_small, …"""
    detail: str = ""
    received_at: AwareDatetime
    item: str = ""
    requests: int = 0
    bytes_received: Int64 = 0


class DocumentFailed(Event):
    """A document could not be had; for this run nobody asks again."""

    subject = "tidemill.document.failed.{source}"
    stream = "DOCUMENTS"

    run: str
    item: str
    name: str = ""
    url: str = ""
    failure: str
    """Slug that can be counted: network, timeout, blocked, robots, http, redirect_loop, too_large, …"""
    detail: str = ""
    attempts: int = 0
    requests: int = 0
    bytes_received: Int64 = 0
    failed_at: AwareDatetime


class DocumentGone(Event):
    """What a source kept visiting is not there any more."""

    subject = "tidemill.document.gone.{source}"
    stream = "DOCUMENTS"

    run: str
    item: str
    name: str = ""
    url: str
    """Where its documents were found: their path."""
    reason: str
    """Slug that can be counted: unlisted, not_found, removed."""
    detail: str = ""
    sha256: str = ""
    """What we had of it last; empty: nothing."""
    requests: int = 0
    bytes_received: Int64 = 0
    gone_at: AwareDatetime


class DownloadDue(Event):
    """A file may be asked for now."""

    subject = "tidemill.job.download.{source}"
    stream = "JOBS_DOWNLOAD"

    run: str
    item: str
    url: str
    name: str = ""
    """File name that it gets."""
    config_version: Int64 = 0
    deadline: AwareDatetime | None = None
    """When the run is timed out, and the job with it."""


class ScrapeDue(Event):
    """A page may be asked for now."""

    subject = "tidemill.job.scrape.{source}"
    stream = "JOBS_SCRAPE"

    run: str
    item: str
    """Of the run's plan; of a search page, the search."""
    url: str
    kind: str
    """search or target."""
    config_version: Int64 = 0
    deadline: AwareDatetime | None = None
    """When the run is timed out, and the job with it."""


class Triggered(Event):
    """Somebody, or another source's run, asks for a run. People write it, so a name that is not known is a mistake."""

    model_config = ConfigDict(extra="forbid")

    subject = "tidemill.trigger.{source}"
    stream = "TRIGGERS"

    params: dict[str, str] = Field(default_factory=dict)
    """What this run does otherwise; which names there are, the source says."""
    actor: str = ""
    reason: str = ""


class RunRequested(Event):
    """A run begins: whoever works for this source plans it."""

    subject = "tidemill.run.requested.{source}"
    stream = "RUNS"

    run: str
    """Letters, digits and hyphens, so that `cancel.run.<run>` is a key of the control bucket."""
    slot: AwareDatetime | None = None
    """The nominal time; None when nobody planned it."""
    trigger: str
    """schedule, manual, backfill, event, retry."""
    params: dict[str, str] = Field(default_factory=dict)
    config_version: Int64 = 0
    """The run ends with this configuration, whatever comes meanwhile."""
    deadline: AwareDatetime | None = None
    """When it is timed out."""
    only_items: tuple[str, ...] = ()
    """Of a retry: these alone. Empty: all."""
    requested_at: AwareDatetime


class RunPlanned(Event):
    """What a run will work through. Repeated until it says `closed`; items add up over the repeats."""

    subject = "tidemill.run.planned.{source}"
    stream = "RUNS"

    run: str
    trigger: str
    """file, schedule, manual, backfill, event, retry."""
    items: tuple[str, ...] = ()
    closed: bool = False
    planned_at: AwareDatetime
    skipped: dict[str, int] = Field(default_factory=dict)
    """Known items that are left out this time, by reason."""
    requests: int = 0
    """That planning took."""
    bytes_received: Int64 = 0
    total: int = 0
    """Where it is `closed`: the items of the whole plan, so that nobody ends the run while a repeat is on its way."""


class SlotSkipped(Event):
    """A slot is not run, and why."""

    subject = "tidemill.slot.skipped.{source}"
    stream = "RUNS"

    slot: AwareDatetime
    schedule: str
    """Which schedule of the source."""
    reason: str
    """Slug that can be counted."""


class FetchHeld(Event):
    """Nothing is asked of a host for now. Alertable; stated once per source and cause."""

    subject = "tidemill.run.held.{source}"
    stream = "RUNS"

    run: str
    host: str
    reason: str
    """limiter_unavailable, breaker_open, budget_spent, robots_unreachable."""
    detail: str = ""
    until: AwareDatetime | None = None
    """When it is tried again, where that is known."""
    held_at: AwareDatetime


class PublicationLate(Event):
    """A publication window passed without a new file. Alertable; stated once per window."""

    subject = "tidemill.run.late.{source}"
    stream = "RUNS"

    opened_at: AwareDatetime
    closed_at: AwareDatetime
    noted_at: AwareDatetime


class Rows(Message):
    """Row accounting: seen = accepted + rejected + the ignored ones."""

    seen: int = 0
    accepted: int = 0
    rejected: int = 0
    ignored: dict[str, int] = Field(default_factory=dict)


class Changes(Message):
    """What storing did to the records of one dataset."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    history: int = 0
    """Versions older than the current one: a late document."""
    gone: int = 0
    """Records that are not there any more."""


class RunFinished(Event):
    """A run has come to nothing more: every item has its outcome, or a limit ended it. Stated again, as `corrected`,
    when a replay changes what came of it."""

    subject = "tidemill.run.finished.{source}"
    stream = "RUNS"

    run: str
    state: str
    """complete, partial, blocked, failed, cancelled, timed_out."""
    trigger: str
    slot: AwareDatetime | None = None
    items: int = 0
    """All of the plan."""
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    skipped: int = 0
    failed: int = 0
    bytes: Int64 = 0
    """That came over the network."""
    requests: int = 0
    duration_seconds: float = 0.0
    """From the request to the end."""
    cpu_seconds: float = 0.0
    peak_memory_bytes: Int64 = 0
    config_version: Int64 = 0
    reason: str = ""
    """Slug of what ended it, where it is not complete."""
    corrected: bool = False
    requested_at: AwareDatetime
    finished_at: AwareDatetime
    records: dict[str, Changes] = Field(default_factory=dict)
    """By dataset."""
    reappeared: int = 0
    """Items that were gone, and are there again."""


class DocumentConverted(Event):
    """A document is through, whatever came out: stated once per document and conversion."""

    subject = "tidemill.document.converted.{source}"
    stream = "DOCUMENTS"

    sha256: str
    run: str
    name: str
    converter: str
    converter_version: str
    outcome: str
    """`converted`, or what is wrong with it; see the values of tidemill.plugin.Outcome."""
    reason: str = ""
    pages: int = 0
    rows: Rows = Rows()
    records: dict[str, Changes] = Field(default_factory=dict)
    """By dataset."""
    warnings: tuple[str, ...] = ()
    cpu_seconds: float = 0.0
    peak_memory_bytes: Int64 = 0
    converted_at: AwareDatetime
    item: str = ""
    """As the stored document said it, like all that follows."""
    previous_sha256: str = ""
    requests: int = 0
    bytes_received: Int64 = 0
    reappeared: bool = False


class RecordsStored(Event):
    """A batch of records of one document is in the store."""

    subject = "tidemill.records.stored.{source}"
    stream = "RECORDS"

    sha256: str
    run: str
    batch: int = 0
    records: dict[str, Changes] = Field(default_factory=dict)


class RecordsRejected(Event):
    """Rows of one batch that could not become records."""

    subject = "tidemill.records.rejected.{source}"
    stream = "RECORDS"

    sha256: str
    run: str
    batch: int = 0
    rejected: dict[str, int] = Field(default_factory=dict)
    """By reason."""


class ConfigApplied(Event):
    """A configuration became the current one."""

    subject = "tidemill.config.applied"
    stream = "CONFIG"

    source: str = ""
    """It concerns all."""
    version: Int64 = 0
    actor: str
    applied_at: AwareDatetime


class ConfigRefused(Event):
    """A configuration was offered that cannot be; the current one stays."""

    subject = "tidemill.config.refused"
    stream = "CONFIG"

    source: str = ""
    """It concerns all."""
    version: Int64 = 0
    """The one that stays."""
    actor: str
    problems: tuple[str, ...] = ()
    """A sentence each, with file and line."""
    refused_at: AwareDatetime


class CommandDone(Event):
    """A command of a service changed something; told for the audit chain."""

    subject = "tidemill.command.done.{service}"
    stream = "CONFIG"

    source: str = ""
    """It concerns all."""
    service: str
    action: str
    """For instance `reconvert.accept`."""
    target: str = ""
    before: str = ""
    """JSON, like `after`; empty where there is nothing to say."""
    after: str = ""
    actor: str
    via: str
    """cli, bus."""
    done_at: AwareDatetime


class AnomalyFound(Event):
    """A measure of a run or a day left the band in which its past let it be expected."""

    subject = "tidemill.report.anomaly.{source}"
    stream = "REPORTS"

    run: str = ""
    """Empty where a whole day is judged."""
    day: str
    """In the zone of reports, as 2025-06-17."""
    measure: str
    title: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    """What tells series of one measure apart."""
    severity: str
    """info, warning, critical."""
    value: float = 0.0
    expected: float = 0.0
    low: float = 0.0
    """Between `low` and `high` nothing is unusual."""
    high: float = 0.0
    score: float = 0.0
    """How far off, in robust standard deviations; below zero for too little."""
    basis: str = ""
    """What the value was held against."""
    found_at: AwareDatetime


class ReportReady(Event):
    """A report can be read: of a day, or of a run; once per edition."""

    subject = "tidemill.report.ready.{kind}"
    stream = "REPORTS"

    source: str = ""
    """Of a report on a run; else it concerns all."""
    kind: str
    """day or run."""
    about: str
    """The day as 2025-06-17, or the id of the run."""
    day: str
    """In the zone of reports."""
    edition: int = 0
    summary: str = ""
    complete: bool = False
    verdict: str = ""
    """trusted, doubtful, untrusted."""
    anomalies: int = 0
    sha256: str = ""
    """Of its JSON."""
    ready_at: AwareDatetime


class ReportNotDelivered(Event):
    """A channel gave up a report for one recipient. Alertable."""

    subject = "tidemill.report.undelivered.{kind}"
    stream = "REPORTS"

    source: str = ""
    """Of a report on a run; else it concerns all."""
    kind: str
    """day or run."""
    about: str
    """The day as 2025-06-17, or the id of the run."""
    day: str
    """In the zone of reports."""
    edition: int = 0
    channel: str
    recipient: str = ""
    """A mail address; empty for whom the channel names."""
    reason: str
    """refused, exhausted, held, unknown_channel, unsendable."""
    said: str = ""
    """What the channel said last."""
    attempts: int = 0
    fallback: str = ""
    """The channel that takes over."""
    given_up_at: AwareDatetime


class JobDead(Event):
    """A message was given up. Its row in the service's `dead_letters` is the truth; this tells of it."""

    subject = "tidemill.dead.{service}"
    stream = "DEAD"

    source: str = ""
    """Empty where the payload could not be read."""
    service: str
    consumer: str
    event_id: str
    origin_subject: str
    reason: str
    """invalid, poison, exhausted, deliveries."""
    error: str
    attempts: int = 0
    payload: Base64Bytes = b""
    headers: dict[str, str] = Field(default_factory=dict)
    died_at: AwareDatetime


class AlertFired(Event):
    """Something a person has to know: a rule holds for as long as it asks for, or began to flap."""

    subject = "tidemill.alert.fired.{rule}"
    stream = "ALERTS"

    source: str = ""
    """Empty where it concerns none alone."""
    alert: str
    """Its id: the same each time this rule fires about these labels."""
    rule: str
    severity: str
    """critical, error, warning, info."""
    state: str
    """firing, flapping."""
    labels: dict[str, str] = Field(default_factory=dict)
    summary: str = ""
    description: str = ""
    runbook: str = ""
    value: float = 0.0
    count: Int64 = 0
    """Of events that count."""
    run: str = ""
    hidden: str = ""
    """Why nobody is told, where that is so: a silence, maintenance, a cause that is told."""
    fired_at: AwareDatetime


class AlertResolved(Event):
    """It is over, and has settled."""

    subject = "tidemill.alert.resolved.{rule}"
    stream = "ALERTS"

    source: str = ""
    alert: str
    rule: str
    severity: str
    labels: dict[str, str] = Field(default_factory=dict)
    summary: str = ""
    fired_at: AwareDatetime
    resolved_at: AwareDatetime
    duration_seconds: float = 0.0


class AlertAcknowledged(Event):
    """Somebody takes care of it."""

    subject = "tidemill.alert.acknowledged.{rule}"
    stream = "ALERTS"

    source: str = ""
    alert: str
    rule: str
    labels: dict[str, str] = Field(default_factory=dict)
    actor: str
    note: str = ""
    until: AwareDatetime | None = None
    """Snoozed: from then on it is as if nobody had."""
    acknowledged_at: AwareDatetime


EVENTS: tuple[type[Event], ...] = (
    DocumentStored,
    DocumentUnchanged,
    DocumentRefused,
    DocumentFailed,
    DocumentGone,
    DownloadDue,
    ScrapeDue,
    Triggered,
    RunRequested,
    RunPlanned,
    RunFinished,
    SlotSkipped,
    FetchHeld,
    PublicationLate,
    DocumentConverted,
    RecordsStored,
    RecordsRejected,
    ConfigApplied,
    ConfigRefused,
    CommandDone,
    AnomalyFound,
    ReportReady,
    ReportNotDelivered,
    JobDead,
    AlertFired,
    AlertResolved,
    AlertAcknowledged,
)
