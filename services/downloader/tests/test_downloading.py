"""Runs, from the request to what became of each file."""

import hashlib

import pytest
from conftest import Mill

pytestmark = pytest.mark.servers

PDF = b"%PDF-1.7 issue 30" + b"." * 5000
LATER = b"%PDF-1.7 issue 31" + b"." * 6000


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_a_file_is_downloaded_kept_and_told(mill: Mill) -> None:
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


async def test_the_next_run_transfers_nothing_when_nothing_changed(mill: Mill) -> None:
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
