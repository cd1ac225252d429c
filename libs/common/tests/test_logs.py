"""Logs: one line each, fields of the context on it, no secret in it."""

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tidemill.common.config import LogSettings
from tidemill.common.telemetry.logs import clean, configure_logs, get_logger, log_fields, on_behalf_of
from tidemill.common.telemetry.tracing import Telemetry


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def restored() -> Iterator[None]:
    """Logging belongs to the process: leave it as it was."""
    root = logging.getLogger()
    handlers, level, configured = root.handlers, root.level, structlog.get_config()
    yield
    root.handlers, root.level = handlers, level
    structlog.configure(**configured)


@pytest.fixture
def stream(restored: None) -> io.StringIO:
    stream = io.StringIO()
    configure_logs(LogSettings(level="info"), stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_a_json_object_with_the_fields_of_its_context(stream: io.StringIO) -> None:
    with log_fields(service="watcher", source="demo", run=""):
        get_logger("tidemill.test", part=2).info("kept", sha256="ab", size=3)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "service": "watcher",
        "source": "demo",
        "part": 2,
        "sha256": "ab",
        "size": 3,
        "level": "info",
        "logger": "tidemill.test",
        "message": "kept",
    }


def test_libraries_speak_through_the_same_stream_with_the_same_fields(stream: io.StringIO) -> None:
    with log_fields(service="converter"):
        logging.getLogger("some.library").warning("%s is odd", "it")
    assert [(line["message"], line["service"]) for line in lines(stream)] == [("it is odd", "converter")]


def test_chatty_libraries_are_heard_from_warnings_on(stream: io.StringIO) -> None:
    logging.getLogger("nats").info("connected")
    logging.getLogger("nats").warning("lost")
    get_logger("tidemill.test").debug("detail")
    assert [line["message"] for line in lines(stream)] == ["lost"]


async def test_the_current_trace_is_on_the_line(stream: io.StringIO) -> None:
    async with Telemetry.open("logs", "1") as telemetry:
        with telemetry.span("work") as span:
            get_logger("tidemill.test").info("inside")
        get_logger("tidemill.test").info("outside")
    inside, outside = lines(stream)
    assert inside["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert inside["span_id"] == f"{span.get_span_context().span_id:016x}"
    assert "trace_id" not in outside


def test_a_line_on_behalf_of_an_event_is_in_its_trace(stream: io.StringIO) -> None:
    trace, span = "a" * 32, "b" * 16
    with on_behalf_of(f"00-{trace}-{span}-01", run="paper-1", source=""):
        get_logger("tidemill.test").info("inside")
    with on_behalf_of("", run="paper-1"):
        get_logger("tidemill.test").info("in no trace")
    inside, outside = lines(stream)
    assert (inside["run"], inside["trace_id"], inside["span_id"]) == ("paper-1", trace, span)
    assert "source" not in inside
    assert outside["run"] == "paper-1" and "trace_id" not in outside


async def test_fields_follow_the_task_and_do_not_leak_into_others(stream: io.StringIO) -> None:
    async def work(name: str) -> None:
        with log_fields(service=name):
            await asyncio.sleep(0)
            await asyncio.create_task(tell(name))

    async def tell(name: str) -> None:
        get_logger("tidemill.test").info("here", expected=name)

    await asyncio.gather(*(work(name) for name in "abc"))
    assert all(line["service"] == line["expected"] for line in lines(stream))


def test_an_exception_is_one_line_with_its_traceback(stream: io.StringIO) -> None:
    try:
        raise ConnectionError("postgresql://tidemill:hunter2@db/x refused")
    except ConnectionError:
        get_logger("tidemill.test").exception("failed")
    (line,) = lines(stream)
    assert "Traceback" in line["exception"]
    assert "hunter2" not in stream.getvalue()


def test_secrets_are_masked_wherever_they_stand(stream: io.StringIO) -> None:
    get_logger("tidemill.test").warning(
        "connecting to nats://me:hunter2@host with token=hunter2",
        url="redis://:hunter2@cache/0",
        password="hunter2",
        headers={"Authorization": "Bearer hunter2", "Accept": "*/*"},
        tried=["s3://key:hunter2@bucket", ValueError("api_key: hunter2")],
        count=3,
        nothing=None,
    )
    logging.getLogger("x").warning("Authorization: Bearer %s", "hunter2")
    assert "hunter2" not in stream.getvalue()
    first = lines(stream)[0]
    assert first["headers"]["Accept"] == "*/*"
    assert first["count"] == 3
    assert first["nothing"] is None


def test_people_get_lines_for_people(restored: None) -> None:
    stream = Terminal()
    configure_logs(LogSettings(format="auto"), stream)
    get_logger("tidemill.test").info("kept", source="demo")
    assert "kept" in stream.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(stream.getvalue())


def test_a_pipe_gets_json_and_console_can_be_asked_for(restored: None) -> None:
    program = (
        "from tidemill.common.config import LogSettings\n"
        "from tidemill.common.telemetry.logs import configure_logs, get_logger\n"
        "import sys\n"
        "configure_logs(LogSettings(format=sys.argv[1]))\n"
        "get_logger('x').info('kept', größe='é')\n"
    )
    for form, begins in (("auto", "{"), ("json", "{"), ("console", "20")):
        told = subprocess.run([sys.executable, "-c", program, form], capture_output=True, text=True, check=True)
        assert told.stderr.startswith(begins), form
        assert "é" in told.stderr


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("password=abc, user=me", "password=**********, user=me"),
        ('{"secret": "abc", "n": 1}', '{"secret": "**********", "n": 1}'),
        ("the token of a rule", "the token of a rule"),
        ("passwords are hard", "passwords are hard"),
        ("AWS_SECRET_ACCESS_KEY=abc", "AWS_SECRET_ACCESS_KEY=**********"),
    ],
)
def test_what_is_called_a_secret_is_masked_and_the_rest_is_left(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@given(
    st.text(alphabet=st.characters(categories=["L", "N"]), min_size=4).filter(lambda s: s not in "postgresql host db")
)
def test_no_password_of_a_url_survives(password: str) -> None:
    assert f":{password}@" not in clean(f"cannot reach postgresql://tidemill:{password}@host/db today")


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    assert clean(clean(text)) == clean(text)


def test_a_line_that_a_full_disk_does_not_take_is_no_news(restored: None, capsys: pytest.CaptureFixture[str]) -> None:
    with Path("/dev/full").open("w", buffering=1) as full:
        configure_logs(LogSettings(), full)
        get_logger("test").warning("a line")
        assert capsys.readouterr().err == ""
        with suppress(OSError):
            full.close()


def test_a_line_that_we_cannot_make_is_news(restored: None, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogSettings(), io.StringIO())
    logging.getLogger("test").warning("%d", "no number")
    assert "Logging error" in capsys.readouterr().err
