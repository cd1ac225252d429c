"""A rendering in a process of its own, within limits: what is heavy or goes wrong there does no harm here."""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from datetime import timedelta

import orjson

from tidemill.reporter.envelope import Envelope
from tidemill.reporter.forms import Form

ENVIRONMENT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
"""All that the process gets to see of ours: there are passwords in the rest."""
SAID = 2_000


class RenderingFailed(Exception):
    """No rendering came of it: the message says why."""


@dataclass(frozen=True, slots=True)
class RenderLimits:
    memory_bytes: int = 1_000_000_000
    """Of writable memory that is asked for: V8 asks for 650 MB, of which a report of usual size fills under 200 MB."""
    time: timedelta = timedelta(seconds=120)


async def render_apart(
    report: bytes, form: Form, envelope: Envelope | None = None, limits: RenderLimits | None = None
) -> bytes:
    """`render` of a report's JSON in a worker process. Raises `RenderingFailed`."""
    limits = limits or RenderLimits()
    asked = {"form": form, "envelope": envelope and envelope.model_dump(mode="json"), "memory": limits.memory_bytes}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tidemill.reporter.render_worker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    )
    try:
        async with asyncio.timeout(limits.time.total_seconds()):
            made, said = await process.communicate(orjson.dumps(asked) + b"\n" + report)
    except TimeoutError:
        raise RenderingFailed(f"The {form} took longer than {limits.time.total_seconds():g} s.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
    if process.returncode:
        raise RenderingFailed(_reason(form, process.returncode, said.decode(errors="replace"), limits))
    return made


def _reason(form: Form, code: int, said: str, limits: RenderLimits) -> str:
    last = said.strip()[-SAID:]
    if code > 0:
        return f"No {form} could be made: {last or f'the process ended with {code}'}"
    return (
        f"The process that made the {form} died of {signal.Signals(-code).name}, most likely because"
        f" {limits.memory_bytes / 1e6:,.0f} MB were not enough. {last}".rstrip()
    )
