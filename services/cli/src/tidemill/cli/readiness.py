"""What must hold before somebody relies on it: each check is a judgment on facts, with the remedy where it fails."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tidemill.cli.findings import Finding, failed, note, ok

if TYPE_CHECKING:
    from tidemill.alerter.settings import AlerterSettings
    from tidemill.common.config.channels import Channel
    from tidemill.common.config.settings import RetentionSettings

REPLICAS_WANTED = 3
BACKUP_OLDEST = timedelta(hours=26)
"""A day and two hours: as the alert `backup_old`."""
CLOCK_TOLERANCE = timedelta(seconds=2)
DISK_FREE_LEAST, DISK_FREE_WANTED = 0.1, 0.2
"""Shares. At the first the alert `disk_filling` fires."""
TOLD = ("critical", "error")
PACED = ("scraper", "downloader")
"""Services that ask hosts of others, at one pace for all replicas."""


@dataclass(frozen=True, slots=True)
class KeptStream:
    """A stream as its cluster holds it."""

    name: str
    replicas: int
    clustered: bool
    behind: Sequence[str] = ()
    """Servers whose copy is offline or not current."""


@dataclass(frozen=True, slots=True)
class Replica:
    """A process that runs a service, as it says itself on the bus."""

    service: str
    version: str
    instance: str

    @property
    def host(self) -> str:
        """Instances are called after host, process and a mark."""
        return self.instance.rsplit("-", 2)[0]


@dataclass(frozen=True, slots=True)
class Backup:
    began_at: datetime
    good: bool
    scheduled: bool
    folder: str


def streams(kept: Sequence[KeptStream], declared: Sequence[str], hosts: int) -> Finding:
    if missing := sorted(set(declared) - {stream.name for stream in kept}):
        return failed("streams", f"not there: {', '.join(missing)}", "run `tidemill streams`")
    behind = [f"{stream.name} on {', '.join(stream.behind)}" for stream in kept if stream.behind]
    if behind:
        return failed("streams", f"copies are behind: {'; '.join(behind)}", "start these servers")
    least = min(stream.replicas for stream in kept)
    if least >= REPLICAS_WANTED:
        return ok("streams", f"{len(kept)}, each on {least} servers")
    remedy = f"set stream_replicas: {REPLICAS_WANTED} and run `tidemill streams`"
    thin = [stream.name for stream in kept if stream.replicas < REPLICAS_WANTED]
    if any(stream.clustered for stream in kept):
        return failed("streams", f"on fewer than {REPLICAS_WANTED} servers of the cluster: {', '.join(thin)}", remedy)
    if hosts > 1:
        return failed("streams", "all on one server, and services on several", f"make NATS a cluster, then {remedy}")
    return note("streams", "all on one server", "what a lost disk takes comes back from the backup alone")


def replicas(running: Sequence[Replica], installed: Sequence[str], hosts: int) -> Iterator[Finding]:
    found: dict[str, set[str]] = {}
    for each in running:
        found.setdefault(each.service, set()).add(each.version)
    if missing := sorted(set(installed) - found.keys()):
        yield failed("services", f"not at work: {', '.join(missing)}", "start them: `tidemill run-service NAME`")
    else:
        yield ok("services", f"{len(found)}, {len(running)} replicas on {hosts} host{'s' if hosts != 1 else ''}")
    versions = sorted({each.version for each in running})
    if len(versions) > 1:
        text = "; ".join(f"{service} {' and '.join(sorted(known))}" for service, known in sorted(found.items()))
        yield failed("versions", text, "finish the upgrade, or roll it back: one release for all")
    elif versions:
        yield ok("versions", f"{versions[0]} everywhere")


def configuration(state: Mapping[str, Any]) -> Finding:
    """By `config_versions.find_state`."""
    from tidemill.cli.config_versions import says

    if state["refused"]:
        wrong = "; ".join(state["refused"]["problems"])
        return failed("configuration", f"refused: {wrong}", "correct it and run `tidemill config apply`")
    unhappy = [f"{row['service']} {row['instance']}: {says(row)}" for row in state["replicas"] if says(row) != "taken"]
    if unhappy:
        remedy = "restart these, or see `tidemill config show --versions`"
        return failed("configuration", "; ".join(unhappy), remedy)
    return ok("configuration", f"version {state['active']}" if state["active"] else "the files of each folder")


def paced(running: Sequence[Replica], redis_url: str | None) -> Finding:
    """Several hosts that ask the sites of others need one place that counts for all."""
    hosts = {each.host for each in running if each.service in PACED}
    if redis_url:
        return ok("shared pace", "in Redis")
    if len(hosts) > 1:
        return failed(
            "shared pace",
            f"{', '.join(PACED)} run on {len(hosts)} hosts, each with a pace of its own: sites are asked too often",
            "set REDIS_URL for all services, and here",
        )
    return ok("shared pace", "one host keeps it: no Redis is needed")


def shared_archive(archive_url: str | None, hosts: int) -> Finding:
    if hosts > 1 and not archive_url:
        return failed(
            "shared archive", f"{hosts} hosts, each with an archive of its own", "set ARCHIVE_URL, for instance s3://"
        )
    if hosts > 1 and archive_url and archive_url.startswith("file:"):
        return note("shared archive", archive_url, "see that it is the same folder, on a file server, for all hosts")
    return ok("shared archive", archive_url or "one host")


def plain_secrets(places: Sequence[str]) -> Finding:
    if places:
        remedy = "name them: ${file:/path}, ${age:path} or ${env:NAME}; then change the secrets that were shown"
        return failed("secrets", "; ".join(places), remedy)
    return ok("secrets", "the configuration names them, and holds none")


def open_files_of_secrets(paths: Sequence[str]) -> Finding:
    if paths:
        return failed("secret files", f"everybody may read {', '.join(paths)}", f"chmod o-rwx {' '.join(paths)}")
    return ok("secret files", "only their owner and group read them")


def backups(made: Sequence[Backup], now: datetime, folder_is_apart: bool | None, encrypted: bool) -> Iterator[Finding]:
    """`folder_is_apart`: on another disk than the data, None where that cannot be seen from here."""
    good = max((each.began_at for each in made if each.good), default=None)
    if good is None:
        text = "none was good" if made else "there is none"
        yield failed("backup", text, "set backup.folder, and let a timer call `tidemill backup --scheduled`")
    elif now - good > BACKUP_OLDEST:
        text = f"the last good one is {(now - good) / timedelta(hours=1):.0f} hours old"
        yield failed("backup", text, "see why: docs/runbooks/backup_old.md")
    elif not any(each.scheduled for each in made):
        remedy = "let a timer call `tidemill backup --scheduled`: only then is one missed that stays away"
        yield failed("backup", "made by hand", remedy)
    else:
        yield ok("backup", f"a good one of {good.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
    if folder_is_apart is False:
        yield failed("backup disk", "the same as of the data", "set backup.folder to another disk, or another machine")
    elif folder_is_apart:
        yield ok("backup disk", "another than of the data")
    if not encrypted:
        remedy = "set backup.recipients, where others can reach the folder"
        yield note("backup encryption", "backups are in plain", remedy)


def retention(settings: "RetentionSettings") -> Finding:
    forever = [name for name in type(settings).model_fields if name not in ("at", "zone") and not settings.keep(name)]
    if "documents" in forever:
        text = "the bytes of documents are kept for ever: the archive grows without end"
        return failed("retention", text, "set retention.documents; `tidemill retention preview` shows what would go")
    return ok("retention", f"for ever: {', '.join(forever)}" if forever else "every layer has its time")


def alerts(settings: "AlerterSettings", channels: Mapping[str, "Channel"], heard: set[str]) -> Iterator[Finding]:
    """`heard`: the channels that took a message lately."""
    from tidemill.alerter.matchers import Matcher, all_hold

    serious = {name: rule for name, rule in settings.active_rules().items() if rule.severity in TOLD}
    routes = [(tuple(map(Matcher.parse, route.match)), route.to) for route in settings.routes]
    silent = [
        name
        for name, rule in serious.items()
        if not any(
            to and all_hold(matchers, {**rule.labels, "rule": name, "severity": rule.severity})
            for matchers, to in routes
        )
    ]
    if silent:
        some = f"{', '.join(silent[:5])}{' …' if len(silent) > 5 else ''}"
        text = f"nobody is told of {len(silent)} of {len(serious)} serious rules: {some}"
        yield failed("alert routes", text, "write alerter.routes, the last one without match")
    else:
        yield ok("alert routes", f"somebody is told of all {len(serious)} serious rules")
    named = sorted(set(settings.channels().values()))
    if unheard := [name for name in named if name not in heard]:
        remedy = "; ".join(f"`tidemill alerts test --channel {name}`" for name in unheard)
        yield failed("alert channels", f"took no message within 90 days: {', '.join(unheard)}", remedy)
    elif named:
        yield ok("alert channels", f"{', '.join(named)} took a message lately")
    else:
        yield failed("alert channels", "none", "write channels, and name them in alerter.routes")
    alone = [name for name in named if not channels[name].fallback]
    if named and len(named) == len(alone) == 1:
        yield note("alert fallback", f"{alone[0]} has none", "give it a fallback: a channel of another provider")
    if settings.heartbeat.url:
        yield ok("dead man's switch", "alerter.heartbeat is set")
    else:
        remedy = "set alerter.heartbeat.url: a place elsewhere that raises the alarm when we fall silent"
        yield failed("dead man's switch", "when everything is down, nobody is told", remedy)


def bus_login(anonymous: bool) -> Finding:
    if anonymous:
        remedy = "give each service a user: `tidemill nats-config --passwords DIR --make`"
        return failed("nats login", "NATS takes everybody: whoever reaches it can send commands", remedy)
    return ok("nats login", "NATS refuses who has no password")


def encrypted(what: str, local: bool, tls: bool, remedy: str) -> Finding:
    if tls:
        return ok(f"{what} tls", "encrypted")
    if local:
        return ok(f"{what} tls", "never leaves this machine")
    return failed(f"{what} tls", "passwords and documents cross the network in the clear", remedy)


def database_login(open_to_all: bool, superusers: Sequence[str]) -> Iterator[Finding]:
    if open_to_all:
        remedy = "scram-sha-256 in pg_hba.conf in the place of trust; then a password for each role"
        yield failed("postgres login", "Postgres takes any password", remedy)
    else:
        yield ok("postgres login", "Postgres refuses a wrong password")
    if superusers:
        remedy = "a role for each service: `tidemill database-roles --passwords DIR --make --apply`"
        yield failed("postgres roles", f"superusers are at work: {', '.join(superusers)}", remedy)
    else:
        yield ok("postgres roles", "no service is a superuser")


def durability(settings: Mapping[str, str]) -> Finding:
    off = [name for name in ("fsync", "full_page_writes", "synchronous_commit") if settings.get(name) == "off"]
    if off:
        return failed("durability", f"off: {', '.join(off)}", "turn them on: a power loss loses rows")
    if settings.get("data_checksums") == "off":
        return note("durability", "pages have no checksums", "pg_checksums --enable while Postgres is stopped")
    return ok("durability", "what is committed is on the disk")


def clock(server: str, theirs: datetime, ours: datetime) -> Finding:
    skew = ours - theirs
    if abs(skew) > CLOCK_TOLERANCE:
        text = f"{skew.total_seconds():+.1f} s against {server}"
        return failed(f"clock of {server}", text, "let NTP set the clocks of both machines")
    return ok(f"clock of {server}", "as here")


def disk(free: float, folder: str) -> Finding:
    text = f"{free:.0%} free at {folder}"
    remedy = "have a fifth free: shorten retention, or move to a larger disk"
    if free < DISK_FREE_LEAST:
        return failed("disk share", text, remedy)
    return note("disk share", text, remedy) if free < DISK_FREE_WANTED else ok("disk share", text)
