"""Logs: one JSON object a line, or lines for people; with service, run, source and trace on each; secrets on none."""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from tidemill.common.config.secrets import MASK, masked
from tidemill.common.telemetry.tracing import current, current_ids, remote

if TYPE_CHECKING:
    from tidemill.common.config import LogSettings

_ASSIGNED = re.compile(
    r"(?i)((?:pass(?:word|wd)|pwd|secret|token|api_?key|access_?key|signature|authorization)[a-z_]*[\"']?\s*[=:]\s*"
    r"(?:bearer\s+|basic\s+)?[\"']?)[^\s\"'&,;})\]]+"
)
_SECRET_KEY = re.compile(r"(?i)(password|passwd|pwd|secret|token|api_?key|access_?key|authorization|cookie)$")
QUIET = ("nats", "asyncio", "urllib3", "httpx2", "httpcore2", "sqlalchemy.engine", "alembic")
"""They tell at `info` what is only of interest when debugging them."""


def clean(text: str) -> str:
    """The text without passwords in URLs and without values that are called password, token, key or secret."""
    return _ASSIGNED.sub(rf"\1{MASK}", masked(text))


def _mask(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {key: MASK if _SECRET_KEY.search(key) else _masked_value(value) for key, value in event.items()}


def _masked_value(value: Any) -> Any:
    match value:
        case str():
            return clean(value)
        case dict():
            return {key: MASK if _SECRET_KEY.search(str(key)) else _masked_value(item) for key, item in value.items()}
        case list() | tuple():
            return [_masked_value(item) for item in value]
        case None | bool() | int() | float():
            return value
        case _:
            return clean(str(value))


def _trace(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    trace_id, span_id = current_ids()
    if trace_id:
        event["trace_id"] = trace_id
        event["span_id"] = span_id
    return event


def configure_logs(settings: "LogSettings", stream: TextIO | None = None) -> None:
    """Send all logs of this process, ours and the libraries', to one stream (stderr) in one form."""
    stream = stream or sys.stderr
    people = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        _trace,
    ]
    last: list[Processor] = [
        ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        _mask,
    ]
    if people:
        last.append(
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
        )
    else:
        last += [structlog.processors.EventRenamer("message"), structlog.processors.JSONRenderer(ensure_ascii=False)]
    handler = _Handler(stream)
    handler.setFormatter(ProcessorFormatter(processors=last, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers = [handler]
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - their name
        """Of a line that a full disk does not take, nothing is told: there is one such line after the other."""
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


def get_logger(name: str, **fields: Any) -> BoundLogger:
    """A logger whose lines carry these fields besides those of `log_fields`."""
    logger: BoundLogger = structlog.stdlib.get_logger(name, **fields)
    return logger


@contextmanager
def log_fields(**fields: str) -> Iterator[None]:
    """Put fields (`service`, `run`, `source`) on every line that is logged inside, by whomever, in this task and those
    it starts; empty ones are left out."""
    with structlog.contextvars.bound_contextvars(**{name: value for name, value in fields.items() if value}):
        yield


@contextmanager
def on_behalf_of(traceparent: str, **fields: str) -> Iterator[None]:
    """As `log_fields`, and in the trace that is named: for a task that works for many events at once."""
    with log_fields(**fields), current(remote(traceparent)):
        yield
