"""The demo site as the demo uses it."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.servers

DEMO = Path(__file__).parents[3] / "examples" / "issue-site"


@pytest.fixture
def site_url(tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, DEMO / "serve.py", "--port", "0", "--folder", tmp_path / "site"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split(" ")[0]
        process.terminate()


def post(url: str) -> dict[str, str]:
    with urllib.request.urlopen(urllib.request.Request(url, method="POST")) as answer:
        return dict(json.load(answer))


async def test_the_demo_fetches_an_issue_then_nothing_then_the_next_one(mill: Any, site_url: str) -> None:
    text = (DEMO / "szerencsemix-demo.yaml").read_text(encoding="utf-8")
    (mill.folder / "sources").mkdir()
    host = site_url.removeprefix("http://").rstrip("/")
    (mill.folder / "sources" / "szerencsemix-demo.yaml").write_text(
        text.replace("127.0.0.1:8765", host).replace("rate: 1/s", "rate: 100/s"), encoding="utf-8"
    )
    await mill.start()
    await mill.run(source="szerencsemix-demo")
    first = await mill.outcome()
    assert (first["name"], first["requests"]) == ("szerencsemix-2025-57.pdf", 2)  # the file, and its checksum
    await mill.run("run-2", source="szerencsemix-demo")
    second = await mill.outcome("run-2")
    assert second["subject"] == "tidemill.document.unchanged.szerencsemix-demo"
    assert (second["requests"], second.get("bytesReceived", "0")) == (1, "0")
    assert post(f"{site_url}publish") == {"published": "szerencsemix-2025-58.pdf"}
    await mill.run("run-3", source="szerencsemix-demo")
    third = await mill.outcome("run-3")
    assert third["subject"] == "tidemill.document.stored.lo.szerencsemix-demo"
    assert third["name"] == "szerencsemix-2025-58.pdf"
    assert len(await mill.archived()) == 2


def test_a_fault_is_served_as_often_as_it_is_asked_for(site_url: str) -> None:
    post(f"{site_url}fault/html/1")
    file = f"{site_url}issues/szerencsemix-2025-57.pdf"
    with urllib.request.urlopen(file) as answer:
        assert b"Please log in" in answer.read()
    with urllib.request.urlopen(file) as answer:
        assert answer.read().startswith(b"%PDF-")
