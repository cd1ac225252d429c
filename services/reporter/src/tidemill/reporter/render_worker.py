"""The process that renders: a line with what is asked for and a report come in, the bytes of the form go out."""

import ctypes
import os
import resource
import signal
import sys

import orjson
from pydantic import ValidationError

from tidemill.reporter.envelope import Envelope
from tidemill.reporter.forms import Form
from tidemill.reporter.render import render
from tidemill.reporter.report import Report

PR_SET_PDEATHSIG = 1


def main() -> int:
    asked = orjson.loads(sys.stdin.buffer.readline())
    _renounce(asked["memory"])
    envelope = Envelope.model_validate(asked["envelope"]) if asked["envelope"] else None
    try:
        report = Report.from_json(sys.stdin.buffer.read())
        made = render(report, Form(asked["form"]), envelope)
    except ValidationError as error:
        first = error.errors()[0]
        return _fail(f"what was given is no report: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    except MemoryError:
        return _fail(f"{asked['memory'] / 1e6:,.0f} MB of memory were not enough")
    sys.stdout.buffer.write(made)
    return 0


def _renounce(memory_bytes: int) -> None:
    """No core files, no more memory than this, and never outlive who asked."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes if hard < 0 else min(memory_bytes, hard), hard))
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)


def _fail(why: str) -> int:
    sys.stderr.write(why + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
