"""Stops, pauses, cancelled runs, deadlines, spent budgets, publication windows."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

pytestmark = pytest.mark.servers

PDF = b"%PDF-1.7 issue 30" + b"." * 10_000_000
SLOW = 1_000_000
"""Bytes a second: ten seconds for the file."""


async def under_way(mill: Any) -> bool:
    return any(asked.path == "/mix.pdf" and asked.sent > 0 for asked in mill.site.asked)


async def start_slowly(mill: Any, limit: timedelta = timedelta(hours=1)) -> datetime:
    """A run that is under way, and its deadline."""
    mill.site.put("/mix.pdf", PDF)
    mill.site.bytes_per_second = SLOW
    mill.source(url=mill.site.url("/mix.pdf"))
    await mill.start()
    deadline = datetime.now(UTC) + limit
    await mill.run(deadline=deadline)
    await mill.until(lambda: under_way(mill))
    return deadline


async def nothing_comes(mill: Any) -> None:
    """Neither requests nor, more than a second later, bytes; watched for a while."""
    await asyncio.sleep(1)
    before = [(asked.path, asked.sent) for asked in mill.site.asked]
    await asyncio.sleep(0.7)
    assert [(asked.path, asked.sent) for asked in mill.site.asked] == before


async def test_a_stop_ends_the_download_and_it_goes_on_from_there(mill: Any) -> None:
    await start_slowly(mill)
    await asyncio.sleep(0.5)
    await mill.control("stop.source.paper")
    await nothing_comes(mill)
    mill.site.bytes_per_second = None
    await mill.control("stop.source.paper", None)
    stored = await mill.outcome()
    assert [asked.status for asked in mill.site.asked if asked.path == "/mix.pdf"] == [200, 206]
    assert int(stored["sizeBytes"]) == len(PDF)
    assert await mill.archived() == [PDF]


async def test_a_stop_holds_after_a_restart(mill: Any) -> None:
    await mill.control("stop.all")
    mill.site.put("/mix.pdf", PDF)
    mill.source(url=mill.site.url("/mix.pdf"))
    await mill.start()
    await mill.run()
    await asyncio.sleep(1.5)
    assert mill.site.asked == []
    await mill.control("stop.all", None)
    await mill.outcome()


async def test_a_pause_lets_the_download_end_and_begins_no_other(mill: Any) -> None:
    await start_slowly(mill)
    await mill.control("pause.source.paper")
    mill.site.bytes_per_second = None
    assert (await mill.outcome())["subject"] == "tidemill.document.stored.lo.paper"
    await mill.run("run-2")
    await asyncio.sleep(1)
    assert [event for event in await mill.told() if event["run"] == "run-2"] == []
    await mill.control("pause.source.paper", None)
    await mill.outcome("run-2")


async def test_a_cancelled_run_asks_no_more(mill: Any) -> None:
    await start_slowly(mill)
    await mill.control("cancel.run.run-1")
    await nothing_comes(mill)

    async def dropped() -> bool:
        (job,) = await mill.sql("SELECT state, outcome FROM downloader.jobs")
        return tuple(job) == ("done", "cancelled")

    await mill.until(dropped)
    assert await mill.told("document.") == []
    mill.site.bytes_per_second = None
    await mill.run("run-2")
    assert (await mill.outcome("run-2"))["subject"] == "tidemill.document.stored.lo.paper"


async def test_a_run_beyond_its_deadline_asks_no_more(mill: Any) -> None:
    await start_slowly(mill, timedelta(seconds=5))

    async def dropped() -> bool:
        (job,) = await mill.sql("SELECT state, outcome FROM downloader.jobs")
        return tuple(job) == ("done", "timed_out")

    await mill.until(dropped)
    await nothing_comes(mill)
    assert await mill.told("document.") == []


async def test_a_stop_freezes_the_deadline_of_what_is_planned(mill: Any) -> None:
    deadline = await start_slowly(mill, timedelta(seconds=6))
    await mill.control("stop.source.paper")
    await asyncio.sleep((deadline - datetime.now(UTC)).total_seconds() + 0.7)
    mill.site.bytes_per_second = None
    await mill.control("stop.source.paper", None)
    assert (await mill.outcome())["subject"] == "tidemill.document.stored.lo.paper"


async def test_a_spent_budget_is_told_once_and_the_rest_waits(mill: Any) -> None:
    names = [f"mix-{number}.pdf" for number in range(5)]
    for name in names:
        mill.site.put(f"/issues/{name}", b"%PDF-1.7 " + name.encode())
    mill.site.index(*names)
    # robots.txt, the index, and one file.
    mill.source(
        politeness="rate: 200/s, daily_budget: 3",
        index={"url": mill.site.url("/issues/"), "links": "*.pdf", "newest": False},
    )
    await mill.start()
    await mill.run()
    await mill.outcome()

    async def held() -> bool:
        return bool(await mill.told("run.held"))

    await mill.until(held)
    await asyncio.sleep(1)
    (event,) = await mill.told("run.held")
    assert (event["reason"], event["run"], event["host"]) == ("budget_spent", "run-1", mill.site.host)
    assert len(mill.site.asked) == 3
    waiting = await mill.sql(
        "SELECT state, due_at > now() AS later, attempts FROM downloader.jobs WHERE outcome IS NULL"
    )
    assert [tuple(row) for row in waiting] == [("due", True, 0)] * 4
    assert await mill.kinds() == {"stored": 1}


async def test_a_run_that_cannot_be_planned_yet_says_so_once_and_waits(mill: Any) -> None:
    mill.site.index("mix.pdf")
    mill.source(politeness="rate: 200/s, daily_budget: 1", index={"url": mill.site.url("/issues/"), "links": "*.pdf"})
    await mill.start()
    await mill.run()

    async def held() -> bool:
        return bool(await mill.told("run.held"))

    await mill.until(held)
    await asyncio.sleep(2.5)
    assert [event["reason"] for event in await mill.told()] == ["budget_spent"]
    assert mill.site.counts() == {}


async def test_what_was_spent_is_remembered_over_a_restart(mill: Any) -> None:
    mill.site.put("/mix.pdf", b"%PDF-1.7")
    mill.source(politeness="rate: 200/s, daily_budget: 2", url=mill.site.url("/mix.pdf"))
    stop = asyncio.Event()
    await mill.start(stop=stop)
    await mill.run()
    await mill.outcome()
    stop.set()
    await mill.running[0]
    await mill.start()
    await mill.run("run-2")

    async def held() -> bool:
        return bool(await mill.told("run.held"))

    await mill.until(held)
    assert len(mill.site.asked) == 2


def zone_where(hour: int) -> str:
    """One in which it is about that hour now."""
    ahead = hour - datetime.now(UTC).hour
    return f"Etc/GMT{-ahead:+d}" if ahead else "UTC"


async def test_a_window_that_passes_without_a_new_file_is_told_once(mill: Any) -> None:
    window = {"from": "01:00", "until": "02:00", "zone": zone_where(12)}
    mill.site.put("/mix.pdf", b"%PDF-1.7")
    mill.source(url=mill.site.url("/mix.pdf"), window=window)
    await mill.start()
    await mill.start()

    async def told() -> bool:
        return bool(await mill.told("run.late"))

    await mill.until(told)
    await asyncio.sleep(1)
    (late,) = await mill.told("run.late")
    assert late["source"] == "paper"


async def test_schedules_ask_no_more_once_the_file_of_the_window_came(mill: Any) -> None:
    window = {"from": "06:00", "until": "18:00", "zone": zone_where(12)}
    mill.site.put("/mix.pdf", b"%PDF-1.7")
    mill.source(url=mill.site.url("/mix.pdf"), window=window)
    await mill.start()
    await mill.run(trigger="schedule")
    await mill.outcome()
    asked = len(mill.site.asked)
    await mill.run("run-2", trigger="schedule")
    plan = await mill.plan("run-2")
    assert (plan["closed"], plan["skipped"], plan.get("items", [])) == (True, {"published": 1}, [])
    assert len(mill.site.asked) == asked
    await mill.run("run-3", trigger="manual")
    assert (await mill.outcome("run-3"))["subject"] == "tidemill.document.unchanged.paper"


async def test_what_a_held_host_kept_from_a_run_fails_with_the_reason_before_the_run_times_out(mill: Any) -> None:
    for name in ("mix-1.pdf", "mix-2.pdf"):
        mill.site.put(f"/issues/{name}", b"%PDF-1.7 " + name.encode())
    mill.site.index("mix-1.pdf", "mix-2.pdf")
    mill.source(
        politeness="rate: 200/s, daily_budget: 3",
        index={"url": mill.site.url("/issues/"), "links": "*.pdf", "newest": False},
    )
    await mill.start()
    await mill.run(deadline=datetime.now(UTC) + timedelta(seconds=8))

    async def both() -> bool:
        return await mill.kinds() == {"stored": 1, "failed": 1}

    await mill.until(both)
    (failed,) = await mill.told("document.failed")
    assert (failed["failure"], failed.get("attempts", 0)) == ("budget_spent", 0)


async def test_a_run_that_is_held_until_it_times_out_is_not_planned(mill: Any) -> None:
    mill.site.index("mix.pdf")
    mill.source(politeness="rate: 200/s, daily_budget: 1", index={"url": mill.site.url("/issues/"), "links": "*.pdf"})
    await mill.start()
    await mill.run(deadline=datetime.now(UTC) + timedelta(seconds=30))
    failed = await mill.outcome()
    assert (failed["item"], failed["failure"]) == ("index", "budget_spent")


async def test_without_the_limits_that_replicas_share_nothing_is_asked_and_an_event_says_why(mill: Any) -> None:
    (mill.folder / "tidemill.yaml").write_text("redis_url: redis://127.0.0.1:1/0\n")
    mill.source(url=mill.site.url("/mix.pdf"))
    service = await mill.begin()
    await mill.run()

    async def held() -> bool:
        return bool(await mill.told("run.held"))

    await mill.until(held)
    (event,) = await mill.told("run.held")
    assert (event["reason"], event["run"], event.get("until")) == ("limiter_unavailable", "run-1", None)
    assert mill.site.asked == []
    assert "limits" in await service.health.wrong()
