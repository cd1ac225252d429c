"""A whole system in which every service has a NATS user and a database role of its own, as it is deployed."""

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.engine import make_url

from tests.system import System
from tidemill.cli.database_roles import run_sql
from tidemill.cli.migrate import make_views
from tidemill.cli.nats_accounts import accounts, user_names
from tidemill.cli.nats_config import section
from tidemill.cli.password_files import passwords
from tidemill.cli.roles_sql import READER, role_of, roles_sql
from tidemill.common.config import load_config, load_sources
from tidemill.common.migrations import migrate
from tidemill.common.servers import Addresses, NatsServer, PostgresServer
from tidemill.common.service import Service, find_services
from tidemill.converter.datasets import find_datasets

SPECS = find_services()


class GuardedNats(NatsServer):
    """Its `url` is the operator's."""

    def __init__(self, folder: Path, secrets: Path) -> None:
        self.passwords = passwords(secrets, "nats", user_names(SPECS), make=True)
        users = accounts(SPECS, self.passwords)
        super().__init__(folder, config="".join(section(key, value) for key, value in users.items()))

    @property
    def url(self) -> str:
        return self.url_of("operator")

    def url_of(self, user: str) -> str:
        return f"nats://{user}:{self.passwords[user]}@127.0.0.1:{self.port}"


@dataclass
class Secured(System):
    """All services in this process, each with its own connections: seven processes would take half a minute to load."""

    roles: Mapping[str, str] = field(default_factory=dict)
    _thread: threading.Thread | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _stop: asyncio.Event | None = None

    def start_servers(self) -> None:
        secrets = self.folder / "secrets"
        self.nats = GuardedNats(self.folder / "nats", secrets)
        self.postgres = PostgresServer(self.folder / "postgres", tcp=True, settings={"fsync": "off"})
        self.nats.start()
        self.postgres.start()
        self.roles = passwords(secrets, "database", [*(spec.name for spec in SPECS), READER], make=True)
        asyncio.run(self._make_tables())

    async def _make_tables(self) -> None:
        await migrate(self.postgres.url, SPECS)
        await make_views(self.postgres.url)
        views = {dataset.name.partition(".")[0] for dataset in find_datasets()}
        await run_sql(self.postgres.url, roles_sql(SPECS, views, self.roles, "tidemill"))

    def revive(self) -> None:
        if not self.replicas:
            return  # Somebody else answers for them.
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="services")
        self._thread.start()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        models = {spec.name: spec.settings for spec in SPECS}
        config = load_config(self.folder, services=models, environ=self.environment)
        sources = load_sources(config.common.sources_dir, config.common.data_dir)
        services = [Service(spec, config, sources, self.addresses_for(spec.name)) for spec in SPECS]
        await asyncio.gather(*(service.run(self._stop) for service in services))

    def stop(self) -> None:
        if self._loop and self._stop:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread:
            self._thread.join(60)
        super().stop()

    def addresses_for(self, service: str) -> Addresses:
        assert isinstance(self.nats, GuardedNats)
        return Addresses(self.nats.url_of(service), self.database_url_of(service))

    def database_url_of(self, service: str) -> str:
        url = make_url(self.postgres.tcp_url).set(username=role_of(service), password=self.roles[service])
        return url.render_as_string(hide_password=False)

    def refusals(self) -> list[str]:
        """What servers did not let a service do."""
        logs = {self.nats.log: ("Violation",), self.postgres.log: ("permission denied", "must be owner")}
        return [
            f"{log.name}: {line[:300]}"
            for log, signs in logs.items()
            for line in log.read_text(errors="replace").splitlines()
            if any(sign in line for sign in signs)
        ]
