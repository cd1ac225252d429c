"""The topology of compose.yaml as processes: what is lost is taken over, and no work is lost or doubled with it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
from rich.console import Console
from rich.table import Table

from tests.deploy.load import Load, assert_exactly_once, put_homes, sources
from tests.deploy.partitioned import AWAY, Partitioned, missing
from tests.deploy.topology import Topology
from tests.system import at_work, new_folder
from tidemill.common.service import service_names
from tidemill.common.testing.site import Site, site_in_a_thread

T = TypeVar("T", bound=Topology)
pytestmark = [pytest.mark.chaos, pytest.mark.servers, pytest.mark.slow]

LIGHT = {
    "TIDEMILL_CONVERTER__WORKERS": "1",
    "TIDEMILL_CONVERTER__SPARE_WORKERS": "0",
    "TIDEMILL_SCRAPER__PARALLEL": "2",
}
SLOW_HOMES = 1_000
PAGE_SECONDS = 2.0
WINDOW_SECONDS = 30.0
GROWTH = 3.5
SHOWN_SECONDS = 15.0
GREETED_SECONDS = 3.0
"""After it began a replica has told of the others that they live."""
CUT_SECONDS = 45.0
"""Longer than a message is left with who took it."""
AWAY_SECONDS = 15.0
"""Longer than it takes until the next run is due."""


@contextmanager
def topology(replicas: list[str], slow: Site | None = None, kind: type[T] = Topology) -> Iterator[tuple[T, Load]]:
    with site_in_a_thread() as site:
        system = kind(new_folder(), replicas, environment=LIGHT, sources=sources(site, slow))
        load = Load(system, site)
        with at_work(system):
            began = system.wait_until_ready(within=240)
            print(f"\n{len(replicas)} processes ready after {began:.0f} s; {system.folder}")
            yield system, load


class Took:
    """What was lost, and after how many seconds work that came at that moment was done."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, float]] = []

    def note(self, lost: str, work: str, seconds: float) -> None:
        self.rows.append((lost, work, seconds))
        print(f"{lost}: {work} {seconds:.1f} s", flush=True)

    def show(self, counts: dict[str, int]) -> None:
        table = Table("lost", "work that came then", "done after", title="Taking over")
        for lost, work, seconds in self.rows:
            table.add_row(lost, work, f"{seconds:.1f} s")
        Console(width=100).print(table)
        print("0 lost, 0 doubled of " + ", ".join(f"{count} {what}" for what, count in counts.items()))


def lose_and_return(system: Topology, load: Load, took: Took, server: str, *, away: float) -> None:
    system.kill_server(server)
    time.sleep(away)
    system.start_server(server)
    took.note(f"{server}, for {away:.0f} s", "paper", load.seconds_of_paper())


def lose_replica(system: Topology, took: Took, replica: str, work: str, seconds: Callable[[], float]) -> None:
    """It stays away until what came meanwhile is done by the other."""
    system.wanted.discard(replica)
    system.services[replica].kill()
    system.services[replica].wait()
    took.note(replica, work, seconds())
    system.wanted.add(replica)
    system.revive()


@pytest.mark.unmeasured
@pytest.mark.timeout(400)
def test_a_bus_server_and_a_converter_are_lost_under_load() -> None:
    """The short form."""
    took = Took()
    with topology(["watcher-1", "converter-1", "converter-2"]) as (system, load):
        load.begin(waves=False)
        took.note("nothing", "paper", load.seconds_of_paper())
        system.kill_server(leader := system.leader_of("DOCUMENTS"))
        took.note(f"{leader} (leads)", "paper", load.seconds_of_paper())
        lose_replica(system, took, "converter-1", "paper", load.seconds_of_paper)
        load.end()
        load.wait_until_all_is_there()
        took.show(assert_exactly_once(load))


def unasked(site: Site, seconds: float) -> None:
    """Without the limits that replicas share, no host is asked; what is on its way may still arrive."""
    time.sleep(5)
    before = len(site.asked)
    time.sleep(seconds)
    assert len(site.asked) == before


@pytest.mark.deploy
@pytest.mark.timeout(1100)
def test_two_replicas_of_each_service_take_over_from_whatever_is_lost() -> None:
    took = Took()
    replicas = [f"{service}-{n}" for service in service_names() for n in (1, 2)]
    with topology(replicas) as (system, load):
        load.begin()
        took.note("nothing", "paper", load.seconds_of_paper())
        took.note("nothing", "12 pages", load.seconds_of_wave())
        system.kill_server(leader := system.leader_of("DOCUMENTS"))
        took.note(f"{leader} (leads)", "paper", load.seconds_of_paper())
        took.note(f"{leader} is away", "12 pages", load.seconds_of_wave())
        system.start_server(leader)
        lose_replica(system, took, "watcher-1", "paper", load.seconds_of_paper)
        lose_replica(system, took, "converter-1", "paper", load.seconds_of_paper)
        lose_replica(system, took, "scraper-1", "12 pages", load.seconds_of_wave)
        lose_replica(system, took, "scheduler-1", "12 pages", load.seconds_of_wave)
        for service in ("downloader", "reporter", "alerter"):
            system.services[f"{service}-1"].kill()
        lose_and_return(system, load, took, "postgres", away=5)
        system.kill_server("redis")
        took.note("redis", "paper", load.seconds_of_paper())
        unasked(load.site, AWAY_SECONDS)
        system.start_server("redis")
        took.note("redis is back", "12 pages", load.seconds_of_wave(within=180))
        system.revive()
        system.wait_until_ready(within=240)
        load.end()
        load.wait_until_all_is_there()
        took.show(assert_exactly_once(load))


@pytest.mark.deploy
@pytest.mark.timeout(400)
def test_a_replica_that_is_cut_off_is_shown_and_costs_nothing() -> None:
    if why := missing():
        pytest.skip(why)
    took = Took()
    with topology(["watcher-1", "converter-1", AWAY], kind=Partitioned) as (system, load):
        load.begin(waves=False)
        took.note("nothing", "paper", load.seconds_of_paper())
        time.sleep(GREETED_SECONDS)
        system.cut()
        begun = time.monotonic()
        shown = system.cli("status", check=False).stdout
        assert time.monotonic() - begun < SHOWN_SECONDS
        assert "lost: does not answer" in shown, shown
        (lost,) = [line for line in shown.splitlines() if "lost: does not answer" in line]
        assert f"-{system.services[AWAY].pid}-" in lost
        took.note(f"{AWAY} is cut off", "paper", load.seconds_of_paper())
        time.sleep(CUT_SECONDS)
        system.mend()
        system.wait_until_ready(AWAY)
        took.note(f"{AWAY} is back", "paper", load.seconds_of_paper())
        load.end()
        load.wait_until_all_is_there()
        took.show(assert_exactly_once(load))


@pytest.mark.deploy
@pytest.mark.timeout(600)
def test_four_scrapers_follow_a_slow_site_three_and_a_half_times_as_fast_as_one() -> None:
    with site_in_a_thread() as slow:
        put_homes(slow, SLOW_HOMES, 0, a_page=100)
        with topology(["scheduler-1", "scraper-1"], slow) as (system, _):
            system.cli("run", "slow")
            deadline = time.monotonic() + 120
            while homes(slow) == 0:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            slow.bytes_per_second = round(len(slow.files["/expose/im0.html"].content) / PAGE_SECONDS)
            alone = rate(slow)
            system.wanted |= {"scraper-2", "scraper-3", "scraper-4"}
            system.revive()
            system.wait_until_ready(within=120)
            time.sleep(2 * PAGE_SECONDS)
            together = rate(slow)
            print(f"\n1 scraper: {alone:.2f} pages/s, 4: {together:.2f} pages/s, {together / alone:.2f} times")
            assert together >= GROWTH * alone
            asked = [path for path, count in slow.counts().items() if path.startswith("/expose") and count > 1]
            assert asked == [], "pages were asked for twice"


def rate(site: Site) -> float:
    """Pages a second."""
    time.sleep(PAGE_SECONDS)
    before, begun = homes(site), time.monotonic()
    time.sleep(WINDOW_SECONDS)
    return (homes(site) - before) / (time.monotonic() - begun)


def homes(site: Site) -> int:
    return sum(asked.sent > 0 and asked.path.startswith("/expose") for asked in list(site.asked))
