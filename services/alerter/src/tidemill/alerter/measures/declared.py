"""Every measured value that rules may name."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Measure:
    name: str
    meaning: str
    unit: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value of this moment."""

    measure: str
    labels: Mapping[str, str] = field(default_factory=dict)
    value: float
    says: str = ""
    run: str = ""


MEASURES: dict[str, Measure] = {}


def _declare(name: str, unit: str, meaning: str, *labels: str) -> None:
    MEASURES[name] = Measure(name, meaning, unit, labels)


_declare("slots_missing", "slots", "Slots that are due and that nobody decided on, whoever should have", "source")
_declare("run_waits", "seconds", "How long the oldest run of a source waits to begin", "source")
_declare("run_slowness", "ratio", "How long a run is under way, against the median of the last ones", "source")
_declare(
    "error_share", "share", "Items that failed, of those of the runs of the last day, where there are ten", "source"
)
_declare("host_held", "seconds", "How long a host is not asked, and why", "source", "host", "reason")
_declare("check_failed", "1", "1 for each check that the newest judged run did not pass", "source", "check", "severity")
_declare("quarantine", "records", "Records that checks hold and nobody decided on", "source")
_declare("targets_given_up", "pages", "Pages that were given up", "source")
_declare("dead_letters", "events", "Dead letters that wait for a person", "service")
_declare("outbox_age", "seconds", "Age of the oldest event that a service could not publish", "service")
_declare("queue_length", "events", "What waits before a consumer", "consumer")
_declare("queue_age", "seconds", "How long a consumer with something before it has finished nothing", "consumer")
_declare("consumer_absent", "1", "1 while something waits before a consumer and nobody fetches it", "consumer")
_declare("replicas_lost", "replicas", "Replicas that ended without taking leave and have no successor", "service")
_declare("service_absent", "1", "1 while a service that ran within a day has no replica", "service")
_declare("config_refused", "1", "1 while the last configuration that was offered is refused")
_declare("config_problem", "1", "1 while a replica cannot do what the active configuration says", "service")
_declare("source_age", "seconds", "Since the last run that brought all or part of what it planned", "source")
_declare(
    "record_quality", "share", "Mean quality of the records of the last run that was reported", "source", "dataset"
)
_declare("database_bytes", "bytes", "Size of a schema, indexes included", "schema")
_declare("database_connections", "connections", "Connections to the database, by what they do", "state")
_declare("database_oldest", "seconds", "Age of the oldest open transaction")
_declare("backup_age", "seconds", "Age of the last good backup, where they are made by themselves")
_declare("disk_free", "share", "Free space of the disk that holds `data_dir`")
_declare("memory_free", "share", "Memory that can be had on this machine, or in the control group of the alerter")
_declare("nats_lost", "seconds", "How long this service is without NATS")
_declare("undelivered", "messages", "Messages to people that a channel gave up since it last took one", "channel")
