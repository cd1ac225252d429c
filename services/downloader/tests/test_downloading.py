"""Runs, from the request to what became of each file."""

import hashlib
import json
from typing import Any

import pytest

from tidemill.common.events import DownloadDue
from tidemill.common.telemetry.metrics import value
from tidemill.downloader.partial import PartialFiles
from tidemill.downloader.policy import item_of

pytestmark = pytest.mark.servers

PDF = b"%PDF-1.7 issue 30" + b"." * 5000
LATER = b"%PDF-1.7 issue 31" + b"." * 6000


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_a_file_is_downloaded_kept_and_told(mill: Any) -> None:
    mill.site.put("/mix.pdf", PDF)
    mill.source(url=mill.site.url("/mix.pdf"))
    await mill.start()
    await mill.run()
    stored = await mill.outcome()
    assert stored["subject"] == "tidemill.document.stored.lo.paper"
    assert (stored["sha256"], stored["sizeBytes"], stored["name"]) == (sha256(PDF), str(len(PDF)), "mix.pdf")
    # robots.txt counts too, which is not there.
    assert (stored["run"], stored["requests"], stored["bytesReceived"]) == ("run-1", 2, "5039")
    assert stored["path"] == mill.site.url("/mix.pdf")
    assert stored["modifiedAt"] == "2026-05-28T20:26:40Z"
    plan = await mill.plan()
    assert (plan["items"], plan["closed"], plan["total"]) == ([stored["item"]], True, 1)
    assert await mill.archived() == [PDF]


async def test_the_next_run_transfers_nothing_when_nothing_changed(mill: Any) -> None:
    mill.site.put("/mix.pdf", PDF)
    mill.source(url=mill.site.url("/mix.pdf"))
    await mill.start()
    await mill.run()
    stored = await mill.outcome()
    await mill.run("run-2")
    unchanged = await mill.outcome("run-2")
    assert unchanged["subject"] == "tidemill.document.unchanged.paper"
    assert (unchanged["duplicateOf"], unchanged["item"]) == ("mix.pdf", stored["item"])
    assert unchanged.get("bytesReceived", "0") == "0"
    assert mill.site.asked[-1].status == 304
    mill.site.put("/mix.pdf", LATER)
    await mill.run("run-3")
    changed = await mill.outcome("run-3")
    assert (changed["sha256"], changed["previousSha256"]) == (sha256(LATER), sha256(PDF))
    assert await mill.archived() == [PDF, LATER]


async def test_the_newest_file_of_an_index_page_is_found(mill: Any) -> None:
    mill.site.put("/issues/mix-30.pdf", PDF)
    mill.site.put("/issues/mix-31.pdf", LATER)
    mill.site.index("mix-30.pdf", "mix-31.pdf", "terms.html")
    mill.source(index={"url": mill.site.url("/issues/"), "links": "*.pdf"})
    await mill.start()
    await mill.run()
    assert (await mill.outcome())["name"] == "mix-31.pdf"
    plan = await mill.plan()
    assert (plan["requests"], len(plan["items"])) == (2, 1)  # robots.txt counts


async def test_all_files_of_an_index_are_fetched_and_then_left_alone_for_a_day(mill: Any) -> None:
    names = [f"mix-{number}.pdf" for number in range(12)]
    for number, name in enumerate(names):
        mill.site.put(f"/issues/{name}", PDF + b"%d" % number)
    mill.site.index(*names)
    mill.source(index={"url": mill.site.url("/issues/"), "links": "*.pdf", "newest": False})
    await mill.start()
    await mill.run()

    async def all_there() -> bool:
        return (await mill.kinds())["stored"] == len(names)

    await mill.until(all_there)
    assert set(mill.site.counts().values()) == {1}
    await mill.run("run-2")
    plan = await mill.plan("run-2")
    assert (plan.get("items", []), plan["skipped"], plan["closed"]) == ([], {"fresh": 12}, True)


async def test_the_same_bytes_under_another_name_are_a_duplicate_of_the_first(mill: Any) -> None:
    mill.site.put("/issues/mix-30.pdf", PDF)
    mill.site.index("mix-30.pdf")
    mill.source(index={"url": mill.site.url("/issues/"), "links": "*.pdf"})
    await mill.start()
    await mill.run()
    await mill.outcome()
    mill.site.put("/issues/mix-31.pdf", PDF)
    mill.site.index("mix-31.pdf", "mix-30.pdf")
    await mill.run("run-2")
    twin = await mill.outcome("run-2")
    assert (twin["subject"], twin["duplicateOf"]) == ("tidemill.document.unchanged.paper", "mix-30.pdf")
    assert (twin["name"], twin["bytesReceived"]) == ("mix-31.pdf", str(len(PDF)))


async def test_bytes_that_a_file_holds_again_after_others_are_news(mill: Any) -> None:
    mill.source(url=mill.site.url("/mix.pdf"))
    await mill.start()
    for number, content in enumerate((PDF, LATER, PDF, LATER)):
        mill.site.put("/mix.pdf", content)
        await mill.run(f"run-{number}")
        stored = await mill.outcome(f"run-{number}")
        assert stored["subject"] == "tidemill.document.stored.lo.paper"
        assert stored["sha256"] == sha256(content)
    assert stored["previousSha256"] == sha256(PDF)
    mill.site.put("/mix.pdf", LATER)  # with another validator, perhaps
    await mill.sql("UPDATE downloader.resources SET etag = NULL, last_modified = NULL")
    await mill.run("run-again")
    assert (await mill.outcome("run-again"))["subject"] == "tidemill.document.unchanged.paper"


async def test_an_address_that_turns_to_what_another_brought_meanwhile_brings_a_duplicate(mill: Any) -> None:
    mill.site.put("/30.pdf", PDF)
    mill.site.put("/latest.pdf", PDF)
    mill.source(index={"url": mill.site.url("/issues/"), "links": "*.pdf", "newest": False})
    mill.site.index("/30.pdf", "/latest.pdf")
    await mill.start()
    await mill.run()
    await mill.until(lambda: came(mill, stored=1, unchanged=1))
    mill.site.put("/31.pdf", LATER)
    mill.site.put("/latest.pdf", LATER)
    mill.site.index("/30.pdf", "/31.pdf", "/latest.pdf")
    await mill.sql("UPDATE downloader.resources SET checked_at = NULL")
    await mill.run("run-2")
    await mill.until(lambda: came(mill, stored=2, unchanged=3))


async def came(mill: Any, **expected: int) -> bool:
    return bool(await mill.kinds() == expected)


async def test_an_index_without_files_fails_the_run_with_its_reason(mill: Any) -> None:
    mill.site.index("news.html")
    mill.source(index={"url": mill.site.url("/issues/"), "links": "*.pdf"})
    await mill.start()
    await mill.run()
    failed = await mill.outcome()
    assert (failed["item"], failed["failure"]) == ("index", "nothing_matches")
    assert (await mill.plan())["items"] == ["index"]


async def test_an_index_that_is_not_there_fails_the_run(mill: Any) -> None:
    mill.source(index={"url": mill.site.url("/issues/"), "links": "*.pdf"})
    await mill.start()
    await mill.run()
    failed = await mill.outcome()
    assert (failed["item"], failed["failure"], failed["url"]) == ("index", "http", mill.site.url("/issues/"))
    mill.site.put("/issues/mix-30.pdf", PDF)
    mill.site.index("mix-30.pdf")
    await mill.run("run-2", only_items=("index",), trigger="retry")
    assert (await mill.outcome("run-2"))["name"] == "mix-30.pdf"


async def test_an_html_page_served_as_a_pdf_is_refused_and_no_validator_of_it_is_kept(mill: Any) -> None:
    mill.site.put("/mix.pdf", b"<!doctype html><title>Please log in</title>")
    mill.source(url=mill.site.url("/mix.pdf"))
    await mill.start()
    await mill.run()
    refused = await mill.outcome()
    assert (refused["subject"], refused["reason"]) == ("tidemill.document.refused.paper", "not_what_it_should_be")
    assert "Please log in" in refused["detail"]
    assert await mill.archived() == []
    await mill.run("run-2")
    assert (await mill.outcome("run-2"))["subject"] == "tidemill.document.refused.paper"


async def test_too_large_and_too_small_files_are_refused(mill: Any) -> None:
    mill.site.put("/large.pdf", PDF)
    mill.site.put("/small.pdf", PDF)
    mill.source("large", url=mill.site.url("/large.pdf"), max_size="4KB")
    mill.source("small", url=mill.site.url("/small.pdf"), min_size="6KB")
    await mill.start()
    await mill.run("run-1", source="large")
    await mill.run("run-2", source="small")
    assert (await mill.outcome("run-1"))["reason"] == "too_large"
    assert (await mill.outcome("run-2"))["reason"] == "too_small"
    assert next(asked for asked in mill.site.asked if asked.path == "/large.pdf").sent <= len(PDF)


async def test_a_passing_failure_is_tried_again_and_told_to_nobody(mill: Any) -> None:
    mill.site.put("/mix.pdf", PDF)
    mill.site.statuses["/mix.pdf"] = [503]
    mill.source(url=mill.site.url("/mix.pdf"))
    await mill.start()
    await mill.run()
    stored = await mill.outcome()
    assert (stored["subject"], stored["requests"]) == ("tidemill.document.stored.lo.paper", 3)
    assert mill.site.counts()["/mix.pdf"] == 2


async def test_a_host_that_asks_for_patience_gets_it(mill: Any) -> None:
    mill.site.put("/mix.pdf", PDF)
    mill.site.statuses["/mix.pdf"] = [429]
    mill.site.headers["Retry-After"] = "3"
    mill.source(url=mill.site.url("/mix.pdf"))
    await mill.start()
    await mill.run()
    assert (await mill.outcome())["subject"] == "tidemill.document.stored.lo.paper"
    first, second = (asked.at for asked in mill.site.asked if asked.path == "/mix.pdf")
    assert second - first >= 2.9
    await mill.until(lambda: counted(mill, retry_after_obeyed=1))


async def counted(mill: Any, **expected: int) -> bool:
    columns = ", ".join(f"sum({name}) AS {name}" for name in expected)
    (row,) = await mill.sql(f"SELECT {columns} FROM downloader.requests")
    return dict(row._mapping) == expected


@pytest.mark.parametrize(
    ("robots", "allowed", "failure"),
    [("User-agent: *\nDisallow: /mix", True, "robots"), ("", False, "private_address"), ("", True, "http")],
)
async def test_what_cannot_be_had_fails_once_with_its_class(
    mill: Any, robots: str, allowed: bool, failure: str
) -> None:
    mill.site.put("/robots.txt", robots.encode())
    mill.source(url=mill.site.url("/mix.pdf"), allowed=allowed)
    await mill.start()
    await mill.run()
    failed = await mill.outcome()
    assert (failed["failure"], failed["attempts"], failed["name"]) == (failure, 1, "mix.pdf")
    (row,) = await mill.sql("SELECT failures, failure, next_check_at FROM downloader.resources")
    assert (row.failures, row.failure) == (1, failure)
    await mill.run("run-2", trigger="schedule")
    assert (await mill.plan("run-2"))["skipped"] == {"backoff": 1}


async def test_a_file_of_a_template_that_is_not_there_is_not_published(mill: Any) -> None:
    mill.site.put("/57.pdf", PDF)
    mill.source(template={"url": mill.site.url("/{issue}.pdf"), "first": 57, "ahead": 2})
    await mill.start()
    await mill.run(trigger="schedule")

    async def both() -> bool:
        return (await mill.kinds()) == {"stored": 1, "failed": 1}

    await mill.until(both)
    (failed,) = await mill.told("document.failed")
    assert (failed["failure"], failed["name"]) == ("not_published", "58.pdf")
    mill.site.put("/58.pdf", LATER)
    await mill.run("run-2", trigger="schedule")
    assert (await mill.outcome("run-2"))["name"] in ("58.pdf", "59.pdf")
    assert len((await mill.plan("run-2"))["items"]) == 2


async def test_a_parameter_that_means_nothing_fails_the_run_and_says_so(mill: Any) -> None:
    mill.source(url=mill.site.url("/mix.pdf"))
    await mill.start()
    await mill.run(params={"date": "2026-07-21"})
    failed = await mill.outcome()
    assert (failed["failure"], failed["detail"]) == ("params", "unknown parameter date; this source takes none")


async def test_a_repeat_takes_the_items_it_names_alone(mill: Any) -> None:
    mill.site.put("/issues/a-1.pdf", PDF)
    mill.site.index("a-1.pdf", "b-2.pdf")
    mill.source(index={"url": mill.site.url("/issues/"), "links": "*.pdf", "newest": False})
    await mill.start()
    await mill.run()

    async def both() -> bool:
        return (await mill.kinds()) == {"stored": 1, "failed": 1}

    await mill.until(both)
    (failed,) = await mill.told("document.failed")
    mill.site.put("/issues/b-2.pdf", LATER)
    await mill.run("run-2", only_items=(failed["item"],), trigger="retry")
    assert (await mill.outcome("run-2"))["name"] == "b-2.pdf"
    assert mill.site.counts()["/issues/"] == 1


async def test_a_source_that_downloads_nothing_is_somebody_elses(mill: Any) -> None:
    mill.site.put("/mix.pdf", PDF)
    mill.source(url=mill.site.url("/mix.pdf"))
    (mill.folder / "sources" / "inbox.yaml").write_text("source: inbox\nwatch: {folder: inbox}\n")
    await mill.start()
    await mill.run("run-1", source="inbox")
    await mill.run("run-2")
    await mill.outcome("run-2")
    assert {event["run"] for event in await mill.told()} == {"run-2"}


async def test_a_published_checksum_is_compared(mill: Any) -> None:
    mill.site.put("/good.pdf", PDF)
    mill.site.put("/good.pdf.sha256", f"{sha256(PDF)}  good.pdf\n".encode())
    mill.site.put("/bad.pdf", LATER)
    mill.site.put("/bad.pdf.sha256", sha256(PDF).encode())
    mill.site.put("/none.pdf", LATER)
    for name in ("good", "bad", "none"):
        mill.source(name, url=mill.site.url(f"/{name}.pdf"), checksum={})
    await mill.start()
    for name in ("good", "bad", "none"):
        await mill.run(f"run-{name}", source=name)
    assert (await mill.outcome("run-good"))["sha256"] == sha256(PDF)
    assert (await mill.outcome("run-none"))["failure"] == "http"

    async def waits_for_another_attempt() -> bool:
        (job,) = await mill.sql("SELECT state, attempts FROM downloader.jobs WHERE run = 'run-bad'")
        return tuple(job) == ("due", 1)

    await mill.until(waits_for_another_attempt)
    assert await mill.archived() == [PDF]


async def test_requests_and_what_304_saved_are_counted_by_host_and_day(mill: Any) -> None:
    mill.site.put("/mix.pdf", PDF)
    mill.source(url=mill.site.url("/mix.pdf"))
    await mill.start()
    await mill.run()
    await mill.outcome()
    await mill.run("run-2")
    await mill.outcome("run-2")
    expected = {"requests": 3, "not_modified": 1, "bytes_saved": len(PDF), "robots_denials": 0}
    await mill.until(lambda: counted(mill, **expected))


async def test_progress_is_told_while_it_downloads(mill: Any) -> None:
    mill.site.put("/mix.pdf", PDF * 200)
    mill.site.bytes_per_second = 700_000
    mill.source(url=mill.site.url("/mix.pdf"))
    heard = await mill.nc.subscribe("tidemill.progress.downloader.paper")
    await mill.start()
    await mill.run()
    first = json.loads((await heard.next_msg(timeout=20)).data)
    assert (first["run"], first["name"], first["total"]) == ("run-1", "mix.pdf", len(PDF) * 200)
    assert 0 < first["bytes"] <= first["total"]
    assert first["bytes_per_second"] > 0
    assert value("tidemill_jobs_handed_out", service="downloader") == 1
    await mill.outcome()

    async def nothing_is_left() -> bool:
        return value("tidemill_jobs_handed_out", service="downloader") == 0

    await mill.until(nothing_is_left)


async def test_two_runs_that_want_the_same_file_at_once_ask_one_after_the_other(mill: Any) -> None:
    mill.site.put("/mix.pdf", PDF * 100)
    mill.site.bytes_per_second = 500_000
    mill.source(url=mill.site.url("/mix.pdf"))
    await mill.start()
    await mill.run("run-1")
    await mill.run("run-2", trigger="schedule")
    outcomes = {run: (await mill.outcome(run))["subject"].split(".")[2] for run in ("run-1", "run-2")}
    assert sorted(outcomes.values()) == ["stored", "unchanged"]
    assert [asked.status for asked in mill.site.asked if asked.path == "/mix.pdf"] == [200, 304]


async def test_a_place_that_somebody_uses_is_waited_for(mill: Any) -> None:
    mill.site.put("/mix.pdf", PDF)
    mill.source(url=mill.site.url("/mix.pdf"))
    places = PartialFiles(mill.folder / "data" / "partial")
    with places.open("paper", item_of(mill.site.url("/mix.pdf"))):
        await mill.start()
        await mill.run()

        async def waits() -> bool:
            rows = await mill.sql("SELECT state, due_at > now() AS later FROM downloader.jobs")
            return [tuple(row) for row in rows] == [("due", True)]

        await mill.until(waits)
    await mill.sql("UPDATE downloader.jobs SET due_at = now()")
    assert (await mill.outcome())["subject"] == "tidemill.document.stored.lo.paper"


async def test_what_was_handed_out_and_lost_is_handed_out_again(mill: Any) -> None:
    mill.site.put("/mix.pdf", PDF)
    mill.source(url=mill.site.url("/mix.pdf"))
    await mill.control("pause.source.paper")
    await mill.start()
    await mill.run()
    # As if it had been planned and handed out, and the message then dropped.
    url = mill.site.url("/mix.pdf")
    await mill.sql(
        "INSERT INTO downloader.resources (source, item, url, name) VALUES ('paper', :item, :url, 'mix.pdf')",
        item=item_of(url),
        url=url,
    )
    await mill.sql(
        "INSERT INTO downloader.jobs"
        " (run, item, source, url, name, host, state, priority, due_at, handed, leased_until)"
        " VALUES ('run-0', :item, 'paper', :url, 'mix.pdf', 'x', 'handed', 0, now(), 1, now() - interval '1 second')",
        item=item_of(url),
        url=url,
    )
    await mill.control("pause.source.paper", None)
    assert (await mill.outcome("run-0"))["name"] == "mix.pdf"
    due = [event["id"] for event in await mill.told("job.download") if event["run"] == "run-0"]
    assert due == [f"run-0/{item_of(url)}#2"]
    await mill.publish(
        DownloadDue(source="paper", run="run-0", item=item_of(url), url=url, name="mix.pdf"), f"run-0/{item_of(url)}#1"
    )
    await mill.outcome("run-1")
    assert len([event for event in await mill.told("document.") if event["run"] == "run-0"]) == 1


async def test_an_index_that_did_not_change_is_not_sent_again(mill: Any) -> None:
    mill.site.put("/issues/mix-30.pdf", PDF)
    mill.site.index("mix-30.pdf")
    mill.source(index={"url": mill.site.url("/issues/"), "links": "*.pdf"})
    await mill.start()
    await mill.run()
    await mill.outcome()
    await mill.run("run-2")
    assert (await mill.outcome("run-2"))["subject"] == "tidemill.document.unchanged.paper"
    plan = await mill.plan("run-2")
    assert (plan["requests"], plan.get("bytesReceived", "0")) == (1, "0")
    assert [asked.status for asked in mill.site.asked][-2:] == [304, 304]
    mill.site.put("/issues/mix-31.pdf", LATER)
    mill.site.index("mix-31.pdf", "mix-30.pdf")
    await mill.run("run-3")
    assert (await mill.outcome("run-3"))["name"] == "mix-31.pdf"
