"""A steady load of real sources: papers that come into a watched folder, and a site whose prices change."""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.integration.test_strangers import german, page
from tests.system import SOURCE, System
from tidemill.common.testing.site import Site

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "examples" / "szerencsemix" / "sample.pdf"
SEARCH = ROOT / "tests" / "integration" / "strangers" / "immo.yaml"
HOMES = 12
A_PAGE = 4
PAPER_SECONDS = 3.0
WAVE_SECONDS = 15.0
FIRST_PRICE = 100_000
LOOK_SECONDS = 0.3
SCHEMAS = ("watcher", "converter", "scraper", "scheduler")


def sources(site: Site, slow: Site | None = None) -> list[dict[str, Any]]:
    """Both that are under load; `slow` is only followed when somebody asks for it."""
    text = SEARCH.read_text(encoding="utf-8")
    portal = yaml.safe_load(text.replace("HOST", site.host).replace("50/s", "20/s"))
    portal["schedule"] = {"every": "10s"}
    portal["scrape"] |= {"stale_after": "1s", "retry": {"first": "2s", "longest": "10s"}}
    found = [SOURCE, portal]
    if slow is not None:
        other = yaml.safe_load(text.replace("HOST", slow.host).replace("50/s", "200/s"))
        other["source"] = "slow"
        other["politeness"]["concurrency"] = 64
        found.append(other)
    return found


def put_homes(site: Site, count: int, wave: int, a_page: int) -> None:
    """Every home with a price that it had in no other wave."""
    for n in range(count):
        price, city = FIRST_PRICE + 1_000 * n + wave, ("bayreuth", "weiden")[n % 2]
        body = f"""<main itemscope itemtype="https://schema.org/Apartment" data-id="im{n}"><h1>Wohnung {n}</h1>
        <p itemprop="address" itemscope itemtype="https://schema.org/PostalAddress">
        <span itemprop="streetAddress">Musterstraße {n + 1}</span>
        <span itemprop="postalCode">95444</span> <span itemprop="addressLocality">{city.title()}</span></p>
        <div itemprop="offers" itemscope itemtype="https://schema.org/Offer"><meta itemprop="price" content="{price}">
        {german(price)} €</div><meta itemprop="numberOfRooms" content="3.5"></main>"""
        site.put(f"/expose/im{n}.html", page(body))
    for parity, city in enumerate(("weiden", "bayreuth")):
        homes = [n for n in range(count) if n % 2 != parity]
        for number in range(1, len(homes) // a_page + 3):
            shown = homes[(number - 1) * a_page : number * a_page]
            links = "".join(f'<a class=expose href="../expose/im{n}.html">W{n}</a>' for n in shown)
            site.put(f"/{city}/liste-{number}.html", page(f"<h1>{city} <small>{len(homes)}</small></h1>{links}"))


@dataclass
class Load:
    system: System
    site: Site
    papers: int = 0
    wave: int = 0
    _ending: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)
    homes: int = HOMES

    def __post_init__(self) -> None:
        put_homes(self.site, HOMES, 0, A_PAGE)

    def begin(self, *, waves: bool = True) -> None:
        """`waves`: the site changes, too, and somebody follows it."""
        self.homes = HOMES if waves else 0
        self._threads = [
            threading.Thread(target=self._repeat, args=(once, seconds), daemon=True)
            for once, seconds in ((self.drop, PAPER_SECONDS), (self.change, WAVE_SECONDS))[: 2 if waves else 1]
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, once: Any, seconds: float) -> None:
        while not self._ending.wait(seconds):
            once()

    def drop(self) -> int:
        """One more paper: the same facts in other bytes, as readers ignore what follows the end of a PDF."""
        with self._lock:
            self.papers += 1
            number = self.papers
        unfinished = self.system.inbox / f"paper-{number}.part"
        unfinished.write_bytes(PAPER.read_bytes() + b"\n%% %d\n" % number)
        # The watcher's container sees it as its own; here both are us.
        unfinished.rename(self.system.inbox / f"paper-{number}.pdf")
        return number

    def change(self) -> int:
        with self._lock:
            self.wave += 1
            put_homes(self.site, HOMES, self.wave, A_PAGE)
            return self.wave

    def seconds_of_paper(self, within: float = 120) -> float:
        """From a paper's coming to the end of its conversion."""
        begun = time.monotonic()
        name = f"paper-{self.drop()}.pdf"
        statement = (
            "SELECT 1 FROM watcher.files f JOIN converter.documents d ON d.sha256 = f.sha256"
            " WHERE f.path LIKE :name AND d.state = 'finished'"
        )
        return self._seconds(begun, within, lambda: bool(self.system.query(statement, name=f"%{name}")), name)

    def seconds_of_wave(self, within: float = 120) -> float:
        """From a change of all homes to the last record that has it; a schedule of ten seconds is in it."""
        begun = time.monotonic()
        wave = self.change()
        return self._seconds(begun, within, lambda: self.homes_since(wave) == HOMES, f"wave {wave}")

    def homes_since(self, wave: int) -> int:
        """Homes whose record says a price of this wave or of a later one."""
        prices = self.prices()
        return sum(price - FIRST_PRICE - 1_000 * n >= wave for n, price in prices.items())

    def prices(self) -> dict[int, int]:
        rows = self.system.query(
            "SELECT r.key, v.data FROM converter.records r JOIN converter.versions v ON v.id = r.version"
        )
        return {
            int(key.removeprefix("immo/im")): round(float(data["price"]))
            for key, data in rows
            if key.startswith("immo/")
        }

    def _seconds(self, begun: float, within: float, done: Any, what: str) -> float:
        while True:
            with suppress(Exception):  # Postgres may be starting.
                if done():
                    return time.monotonic() - begun
            assert time.monotonic() - begun < within, f"{what} is not there; logs in {self.system.folder / 'log'}"
            time.sleep(LOOK_SECONDS)

    def wait_until_all_is_there(self, within: float = 240) -> None:
        self._seconds(time.monotonic(), within, self._all_there, f"{self.papers} papers, wave {self.wave}")

    def _all_there(self) -> bool:
        unsent = " + ".join(f"(SELECT count(*) FROM {schema}.outbox WHERE sent_at IS NULL)" for schema in SCHEMAS)
        statement = f"""SELECT count(*) FILTER (WHERE source = 'paper' AND state = 'finished'),
            count(*) FILTER (WHERE state <> 'finished'), {unsent} FROM converter.documents"""
        found = self.system.query(statement)
        return found == [(self.papers, 0, 0)] and self.homes_since(self.wave) == self.homes


def assert_exactly_once(load: Load) -> dict[str, int]:
    """Nothing lost, nothing doubled: documents, records, events. How many there were of each."""
    system = load.system
    rows = system.query("SELECT count(*), count(DISTINCT sha256) FROM converter.documents WHERE source = 'paper'")
    assert rows == [(load.papers, load.papers)]
    assert system.query("SELECT DISTINCT outcome FROM converter.documents") == [("converted",)]
    assert system.count("watcher.files") == load.papers
    # All papers say the same: one version of each record, or something was stored twice.
    matches = system.count("football.match")
    assert matches > 0
    assert system.count("football.match_history") == matches
    assert system.count("football.market_history") == system.count("football.market")
    assert load.prices() == {n: FIRST_PRICE + 1_000 * n + load.wave for n in range(load.homes)}
    doubled = (
        "SELECT v.record, v.data->>'price', count(*) FROM converter.versions v JOIN converter.records r"
        " ON r.id = v.record WHERE r.key LIKE 'immo/%' GROUP BY 1, 2 HAVING count(*) > 1"
    )
    assert system.query(doubled) == []
    for schema in SCHEMAS:
        assert system.count(f"{schema}.dead_letters") == 0, system.query(f"SELECT error FROM {schema}.dead_letters")
        assert system.query(f"SELECT consumer, event_id FROM {schema}.inbox GROUP BY 1, 2 HAVING count(*) > 1") == []
    events = 0
    told: dict[str, int] = {}
    for stream in ("DOCUMENTS", "RUNS", "RECORDS"):
        messages = system.messages(stream)
        assert len(messages) == len(set(messages)), f"{stream} holds an event twice"
        events += len(messages)
        for kind, _ in messages:
            told[kind] = told.get(kind, 0) + 1
    documents = system.count("converter.documents")
    assert told["converted"] == documents
    assert told["stored"] >= documents
    return {"papers": load.papers, "documents": documents, "records": matches + load.homes, "events": events}
