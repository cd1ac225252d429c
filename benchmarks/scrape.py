"""A thousand listing pages of 40 KB: fetched politely, archived, extracted, stored as versions, and told, beside a
Scrapy spider that writes lines of JSON, and a bare loop of client and parser."""

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from tests.system import System, running
from tidemill.common.bus.client import open_client, request_command
from tidemill.common.servers import free_port

PAGES = 1_000
LINKS_A_PAGE = 50
PAGE_BYTES = 40_000
GOAL_CPU_S = 1.5
GOAL_MB = 80.0
CONCURRENCY = 16
PATIENCE_SECONDS = 300.0
IDLE_CPU_S = 0.15
"""In a second, of all processes."""
REPLICAS = ("scheduler", "scraper", "converter")
FIELDS = {
    "portal_id": "Objekt-Nr.",
    "price": "Kaufpreis",
    "monthly_charge": "Hausgeld",
    "size_m2": "Wohnfläche",
    "plot_m2": "Grundstück",
    "rooms": "Zimmer",
    "floor": "Etage",
    "year_built": "Baujahr",
    "condition": "Zustand",
    "energy_class": "Energieklasse",
    "address": "Adresse",
    "title": "Titel",
}
TYPES = {
    "price": "money",
    "monthly_charge": "money",
    "size_m2": "area",
    "plot_m2": "area",
    "rooms": "rooms",
    "floor": "integer",
    "year_built": "year",
}


def run() -> list[dict[str, Any]]:
    port = free_port()
    root = Path(__file__).parent.parent
    site = subprocess.Popen([sys.executable, "-m", "benchmarks.scrape", "site", str(port)], cwd=root)
    try:
        wait_for(port)
        limit_cpu, _ = child("bare", port)
        peer_cpu, peer_mb = child("scrapy", port)
        ours = measure(port)
    finally:
        site.terminate()
        site.wait(10)
    total = sum(cpu for name, (cpu, _) in ours.items() if name not in ("nats-server", "postgres"))
    rows = [
        row(
            "scrape 1,000 pages, all services",
            total,
            peer_cpu,
            limit_cpu,
            "CPU s",
            f"≤ {GOAL_CPU_S} s",
            total <= GOAL_CPU_S,
        ),
        row(
            "memory of the scraper",
            ours["scraper"][1],
            peer_mb,
            None,
            "MB",
            f"≤ {GOAL_MB:g} MB",
            ours["scraper"][1] <= GOAL_MB,
        ),
    ]
    rows += [row(f"  CPU of {name}", cpu, None, None, "CPU s", None, None) for name, (cpu, _) in sorted(ours.items())]
    return rows


def row(
    name: str, ours: float, peer: float | None, limit: float | None, unit: str, goal: str | None, ok: bool | None
) -> dict[str, Any]:
    return {
        "name": name,
        "ours": ours,
        "peer": peer,
        "limit": limit,
        "unit": unit,
        "goal": goal,
        "ok": ok,
        "lower_is_better": True,
    }


def source_of(port: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, label in FIELDS.items():
        fields[name] = {"from": {"label": label}} | ({"type": TYPES[name]} if name in TYPES else {})
    fields["price"]["required"] = True
    return {
        "source": "bench",
        "scrape": {
            "search": {
                "url": f"http://127.0.0.1:{port}/search?page={{page}}",
                "link": {"css": "a.home", "attribute": "href"},
                "found": {"css": "h1 b"},
                "paging": {},
            }
        },
        "extract": {"locale": "de", "fields": fields},
        "politeness": {"rate": "1000/s", "concurrency": CONCURRENCY, "allow_private": [f"127.0.0.1:{port}"]},
        "convert": {"with": "listings", "options": {"country": "DE", "price_kind": "sale"}},
    }


def measure(port: int) -> dict[str, tuple[float, float]]:
    """CPU seconds and MB (the most, looked at often) of each process of ours over one run."""
    with running(REPLICAS, sources=(source_of(port),)) as system:
        ready(system)
        settled(system)
        before = {name: cpu_of(processes) for name, processes in processes_of(system).items()}
        run_id = asyncio.run(asked(system, "run", {"source": "bench"}))["run"]
        peaks: dict[str, float] = {}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            for name, processes in processes_of(system).items():
                peaks[name] = max(peaks.get(name, 0.0), sum(memory(one) for one in processes) / 1e6)
            ended = system.query(
                "SELECT state, new FROM scheduler.runs WHERE run = :run AND finished_at IS NOT NULL", run=run_id
            )
            if ended:
                break
            if time.monotonic() > deadline:
                raise RuntimeError(f"the run has not ended: {system.query('SELECT state FROM scheduler.runs')}")
            time.sleep(0.2)
        if ended[0] != ("complete", PAGES):
            raise RuntimeError(f"the run ended as {ended[0]}")
        return {
            name: (cpu_of(processes) - before.get(name, 0.0), peaks[name])
            for name, processes in processes_of(system).items()
        }


def processes_of(system: System) -> dict[str, list[psutil.Process]]:
    roots = {name: process.pid for name, process in system.services.items()}
    roots |= {"nats-server": system.nats.pid, "postgres": system.postgres.pid}
    found = {}
    for name, pid in roots.items():
        parent = psutil.Process(pid)
        found[name] = [parent, *parent.children(recursive=True)]
    return found


def cpu_of(processes: list[psutil.Process]) -> float:
    """Of processes that live, and of children that ended."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total + sum(processes[0].cpu_times()[2:4])


def memory(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().uss)
    except psutil.Error:
        return 0.0


def ready(system: System) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            asyncio.run(asked(system, "status", {}))
            return
        except Exception:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.3)


def settled(system: System) -> None:
    """Until all of them rest: what a start costs belongs to no page."""
    spent = -1.0
    for _ in range(60):
        time.sleep(1)
        now = sum(cpu_of(processes) for processes in processes_of(system).values())
        if now - spent < IDLE_CPU_S:
            return
        spent = now


async def asked(system: System, verb: str, parameters: dict[str, Any]) -> dict[str, Any]:
    async with open_client(system.nats.url) as client:
        return await request_command(client, "scheduler", verb, parameters)


def child(kind: str, port: int) -> tuple[float, float]:
    """CPU seconds and MB of a process that does it another way."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.scrape", kind, str(port), folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parent.parent)
    told = json.loads(done.stdout.splitlines()[-1])
    if told["pages"] != PAGES:
        raise RuntimeError(f"{kind} got {told['pages']} pages")
    return told["cpu"], told["mb"]


def spent(pages: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"pages": pages, "cpu": used.ru_utime + used.ru_stime, "mb": used.ru_maxrss / 1024}))


async def bare(port: int) -> None:
    """Client and parser alone, of the same libraries."""
    import httpx2
    from selectolax.lexbor import LexborHTMLParser

    async with httpx2.AsyncClient(limits=httpx2.Limits(max_connections=CONCURRENCY)) as client:
        gate = asyncio.Semaphore(CONCURRENCY)

        async def one(number: int) -> int:
            async with gate:
                answer = await client.get(f"http://127.0.0.1:{port}/homes/{number}")
            terms = LexborHTMLParser(answer.content).css("dd")
            return len([term.text() for term in terms])

        counts = await asyncio.gather(*(one(number) for number in range(PAGES)))
    spent(sum(count >= len(FIELDS) for count in counts))


def scrapy_spider(port: int, folder: str) -> None:
    """The same pages and fields, as its tutorial does it."""
    import scrapy
    from scrapy.crawler import CrawlerProcess

    base = f"http://127.0.0.1:{port}"
    target = Path(folder) / "items.jsonl"

    class Homes(scrapy.Spider):  # type: ignore[misc]
        name = "homes"
        start_urls = [  # noqa: RUF012 - as its tutorial writes it
            f"{base}/search?page={number}" for number in range(1, PAGES // LINKS_A_PAGE + 1)
        ]

        def parse(self, response: Any) -> Any:
            yield from response.follow_all(css="a.home", callback=self.parse_home)

        def parse_home(self, response: Any) -> Any:
            terms = {
                term.css("::text").get(): term.xpath("following-sibling::dd[1]//text()").get()
                for term in response.css("dl.facts dt")
            }
            yield {"url": response.url, **{name: terms.get(label) for name, label in FIELDS.items()}}

    process = CrawlerProcess(
        {
            "ROBOTSTXT_OBEY": True,
            "CONCURRENT_REQUESTS": CONCURRENCY,
            "CONCURRENT_REQUESTS_PER_DOMAIN": CONCURRENCY,
            "DOWNLOAD_DELAY": 0,
            "FEEDS": {str(target): {"format": "jsonlines"}},
            "LOG_LEVEL": "ERROR",
            "TELNETCONSOLE_ENABLED": False,
        }
    )
    process.crawl(Homes)
    process.start()
    spent(len(target.read_text().splitlines()))


FILLER = "".join(f'<div class="card c{n}"><a href="/x/{n}"><span>Nachbar {n}</span></a></div>' for n in range(600))
"""What stands on a page besides; more than a page of it."""


def home(number: int) -> bytes:
    values = {
        "Objekt-Nr.": f"B-{number}",
        "Kaufpreis": f"{200_000 + number:,}".replace(",", ".") + ",00 €",
        "Hausgeld": "310,50 €",
        "Wohnfläche": f"{40 + number % 90},5 m²",
        "Grundstück": f"{300 + number % 500} m²",
        "Zimmer": f"{1 + number % 5}",
        "Etage": f"{number % 8}",
        "Baujahr": f"{1900 + number % 120}",
        "Zustand": "gepflegt",
        "Energieklasse": "C",
        "Adresse": f"Musterweg {1 + number % 200}, 95444 Bayreuth",
        "Titel": f"Wohnung Nummer {number}",
    }
    facts = "".join(f"<dt>{label}</dt><dd>{value}</dd>" for label, value in values.items())
    start = f"<!doctype html><html><head><title>B-{number}</title></head><body><dl class=facts>{facts}</dl>"
    return (start + FILLER)[: PAGE_BYTES - 20].rpartition("<div")[0].encode() + b"</body></html>"


def search(number: int) -> bytes:
    first = (number - 1) * LINKS_A_PAGE
    links = "".join(
        f'<li><a class="home" href="/homes/{n}">B</a></li>' for n in range(first, min(first + LINKS_A_PAGE, PAGES))
    )
    return f"<!doctype html><h1><b>{PAGES}</b> Treffer</h1><ul>{links}</ul>".encode()


async def serve(port: int) -> None:
    """Pages are made beforehand, so that the site costs little beside who asks."""
    pages = {f"/homes/{number}": home(number) for number in range(PAGES)}
    pages |= {f"/search?page={number}": search(number) for number in range(1, PAGES // LINKS_A_PAGE + 2)}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = pages.get(head.split(b" ", 2)[1].decode())
                status = b"200 OK" if body else b"404 Not Found"
                kind = b"text/html; charset=utf-8"
                size = str(len(body or b"")).encode()
                writer.write(b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %b\r\n\r\n" % (status, kind, size))
                writer.write(body or b"")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    async with server:
        await asyncio.wait_for(server.serve_forever(), 900)


def wait_for(port: int) -> None:
    import socket

    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the site did not start")


if __name__ == "__main__":
    kind, chosen = sys.argv[1], int(sys.argv[2])
    if kind == "site":
        os.nice(5)
        asyncio.run(serve(chosen))
    elif kind == "bare":
        asyncio.run(bare(chosen))
    else:
        scrapy_spider(chosen, sys.argv[3])
