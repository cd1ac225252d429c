"""What a person sees of `tidemill up`."""

import asyncio
import json
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path

from tidemill.cli import live, together
from tidemill.cli.live import Numbers, Screen, total
from tidemill.cli.machine import Machine
from tidemill.cli.together import LogFile, Together
from tidemill.common.bus.supervise import cancel
from tidemill.common.config import Sources, load_config
from tidemill.common.servers import Addresses
from tidemill.common.telemetry.metrics import CONTROL_HELD, DOCUMENTS, FILES, RECORDS, Metrics


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class Gone(StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_on_a_terminal_the_live_line_is_redrawn_below_what_is_said() -> None:
    terminal = Terminal()
    screen = Screen(terminal)
    screen.show("one", 0)
    screen.show("two", 0.1)
    screen.say("postgres had ended")
    screen.end()
    assert terminal.getvalue() == "\r\x1b[Kone\r\x1b[Ktwo\r\x1b[Kpostgres had ended\ntwo\n"


def test_elsewhere_it_is_printed_when_it_changed_and_not_too_often() -> None:
    file = StringIO()
    screen = Screen(file)
    for text, now in (("one", 0.0), ("two", 1.0), ("three", 2.0), ("three", 20.0), ("three", 40.0)):
        screen.show(text, now)
    screen.end()
    assert file.getvalue() == "one\nthree\n"


def test_a_terminal_that_is_gone_stops_nothing() -> None:
    Screen(Gone()).say("still here")


def test_numbers_read_as_a_sentence() -> None:
    assert str(Numbers(8, 1320, 2, 0, 1)) == "documents 8 · records 1,320 · refused 2 · queue 0 · dead letters 1"
    assert "queue 0 · to be tried again 3 · dead letters 1" in str(Numbers(8, 1320, 2, 0, 1, retries=3))
    assert live.numbers(3).queue >= 3


def test_what_is_held_comes_first_with_what_waits_for_it() -> None:
    stopped = str(Numbers(8, 1320, 0, 1, 0, retries=2, held_by=("pause.all", "stop.source.field")))
    assert stopped.startswith("stopped by pause.all, stop.source.field · 3 waiting · documents 8 · ")
    assert str(Numbers(8, 1320, 0, 0, 0, held_by=("pause.all",))).startswith("paused by pause.all · 0 waiting · ")


def test_what_is_refused_is_counted_whoever_refused_it() -> None:
    metrics = Metrics("live-test")
    before = live.numbers(0)
    metrics.of(FILES, source="live", outcome="refused").inc(2)
    metrics.of(FILES, source="live", outcome="duplicate").inc()
    for outcome in ("converted", "incomplete", "scanned"):
        metrics.of(DOCUMENTS, source="live", outcome=outcome).inc()
    after = live.numbers(0)
    assert (after.documents - before.documents, after.refused - before.refused) == (5, 3)


def test_the_keys_that_hold_are_known_from_the_metrics() -> None:
    held = Metrics("live-test").of(CONTROL_HELD, key="stop.source.live")
    held.set(1)
    assert "stop.source.live" in live.numbers(0).held_by
    held.set(0)
    assert "stop.source.live" not in live.numbers(0).held_by


def test_unchanged_records_are_not_counted_as_work() -> None:
    metrics = Metrics("live-test")
    before = total(RECORDS, unless=("unchanged",))
    metrics.of(RECORDS, dataset="live.test", change="new").inc(2)
    metrics.of(RECORDS, dataset="live.test", change="unchanged").inc(5)
    assert total(RECORDS, unless=("unchanged",)) - before == 2


def test_a_long_log_begins_anew_and_keeps_the_one_before(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(together, "LOG_KEPT_BYTES", 10)
    log = LogFile(tmp_path / "run" / "up.log")
    for line in ("first line\n", "second\n"):
        log.write(line)
        log.flush()
    assert (tmp_path / "run" / "up.log").read_text() == "second\n"
    assert (tmp_path / "run" / "up.old.log").read_text() == "first line\n"


def test_what_a_full_disk_does_not_take_of_the_log_is_counted_in_it(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "up.log")
    log.write("first\n")
    with files_limited_to(6):
        log.write("lost\n")
        log.write("lost, too\n")
    log.write("second\n")
    first, _, gap, second = (tmp_path / "up.log").read_text().splitlines()
    assert (first, second) == ("first", "second")
    assert json.loads(gap)["message"].startswith("2 lines are missing")


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """As on a full disk, a write gets an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


class Forgetful(Together):
    """One of its parts loses a cancellation, as nats-py does."""

    async def _wait_until_ready(self) -> list[str]:
        return []

    def _summary(self, *_: object) -> str:
        return "ready"

    async def _live(self) -> None:
        await asyncio.Event().wait()

    async def _count(self, *_: object) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()


async def test_a_part_of_the_display_that_loses_a_cancellation_does_not_hold_up_the_end(tmp_path: Path) -> None:
    config, screen = load_config(tmp_path, services={}), Screen(StringIO())
    together = Forgetful(config, Sources({}), [], Machine(config.common, screen.say), screen)
    showing = asyncio.create_task(together._show(together._tell(Addresses("", "", ""), demo=False, begun=0)))
    await asyncio.sleep(0.01)
    begun = asyncio.get_running_loop().time()
    await cancel([showing])
    assert showing.cancelled()
    assert asyncio.get_running_loop().time() - begun < 3
