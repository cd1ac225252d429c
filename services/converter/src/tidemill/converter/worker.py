"""The main program of a worker process: converts one document after the other, and nothing else.

It trusts nothing it reads: no network, no secrets in its environment, limits on memory and CPU time set by itself
and watched by its parent, which ends it when it exceeds them. Imports little, so that it starts fast and stays small.
"""

import contextlib
import ctypes
import faulthandler
import importlib
import math
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from tidemill.converter import frames
from tidemill.plugin.conversion import (
    Accounting,
    Converter,
    Described,
    Document,
    Item,
    Outcome,
    Progress,
    Record,
    Refusal,
    Rejected,
)

PROGRESS_EVERY_SECONDS = 0.5

DATA_SLACK = 2**30
"""Room above the memory limit before allocations fail. The parent's watch ends us at the limit and knows why;
a native library that is refused memory aborts, which looks like a crash. So this is for when the watch is late."""


class Batches:
    """Collects items into batches and sends them; what the parent knows already it leaves out."""

    def __init__(self, replies: BinaryIO, *, skip: int, pages: int | None) -> None:
        self._replies = replies
        self._skip = skip
        self._pages = pages
        self._records: list[bytes] = []
        self._rejected: list[bytes] = []
        self._accounting: list[Accounting] = []
        self._warnings: list[str] = []
        self._reasons: Counter[str] = Counter()
        self._count = 0
        self._size_bytes = 0
        self._progress_at = 0.0
        self._described = False
        self._sent = 0

    def add(self, item: Item) -> None:
        if isinstance(item, Record):
            content = frames.encode_record(item)
            self._records.append(content)
        elif isinstance(item, Rejected):
            content = frames.encode_rejected(item)
            self._rejected.append(content)
            self._reasons[item.reason] += 1
        else:
            self._note(item)
            return
        if item.position.page is not None:
            self._check_page(item.position.page)
        self._count += 1
        self._size_bytes += len(content)
        if self._count >= frames.BATCH_ITEMS or self._size_bytes >= frames.BATCH_BYTES:
            self.end()
            self._replies.flush()

    def end(self) -> None:
        """End the batch, if anything is in it; the last one leaves together with the document's ending."""
        if not (self._records or self._rejected or self._accounting or self._warnings):
            return
        if self._records or self._rejected:
            if self._skip > 0:
                self._skip -= 1
            else:
                frames.write_frame(self._replies, frames.encode_part(self._records, self._rejected))
        tally = frames.encode_tally(self._accounting, self._warnings, len(self._records), self._reasons)
        frames.write_frame(self._replies, tally)
        self._records, self._rejected, self._accounting, self._warnings = [], [], [], []
        self._reasons = Counter()
        self._sent += self._count
        self._count = 0
        self._size_bytes = 0

    def _note(self, item: Item) -> None:
        """What is no row."""
        if isinstance(item, Accounting):
            self._check_page(item.page)
            if not item.balanced():
                raise frames.Unsendable(f"the accounting of page {item.page} does not add up: {item}")
            self._accounting.append(item)
        elif isinstance(item, Described):
            self._describe(item)
        elif isinstance(item, Progress):
            self._tell_progress(item)
        else:
            raise frames.Unsendable(f"a converter yields items, not {type(item).__name__}")

    def _describe(self, described: Described) -> None:
        if self._described or self._count or self._sent:
            raise frames.Unsendable("a document is described once, before the first record")
        if described.valid_from is not None and described.valid_from.tzinfo is None:
            raise frames.Unsendable(f"valid_from {described.valid_from} of the document has no time zone")
        self._described = True
        frames.write_frame(self._replies, frames.encode_described(described))
        self._replies.flush()
        self._check_page(described.pages)

    def _tell_progress(self, progress: Progress) -> None:
        if progress.warning:
            self._warnings.append(progress.warning)
        now = time.monotonic()
        if now - self._progress_at >= PROGRESS_EVERY_SECONDS:
            self._progress_at = now
            state = {"kind": "progress", "done": progress.done, "total": progress.total}
            frames.write_frame(self._replies, orjson.dumps(state))
            self._replies.flush()

    def _check_page(self, page: int | None) -> None:
        if self._pages is not None and page is not None and page > self._pages:
            raise Refusal(Outcome.TOO_LARGE, f"{page} pages or more; the limit is {self._pages}")


def convert(job: frames.Job, replies: BinaryIO) -> dict[str, Any]:
    """Send the parts of a document, and return how it ended."""
    cpu_started = time.process_time()
    reset_peak_memory()
    limit(job)
    batches = Batches(replies, skip=job.skip, pages=job.pages)
    ending: dict[str, Any] = {"outcome": Outcome.CONVERTED, "reason": ""}
    try:
        converter = load(job.converter)
        with Path(job.path).open("rb") as content:
            document = Document(
                content,
                job.sha256,
                job.size_bytes,
                job.name,
                job.received_at,
                job.source,
                url=job.url,
                context=job.context,
            )
            for item in converter.convert(document, job.options):
                batches.add(item)
    except Refusal as refusal:
        ending = {"outcome": refusal.outcome, "reason": refusal.reason}
    except MemoryError:
        ending = {"outcome": Outcome.RESOURCE_LIMIT, "reason": "asked for more memory than there may be"}
    except Exception:  # noqa: BLE001 - whatever a plugin raises is its defect, and ours to report
        ending = {"outcome": Outcome.CRASHED, "reason": traceback.format_exc(limit=-8)}
    batches.end()
    return {
        "kind": "end",
        **ending,
        "cpu_seconds": time.process_time() - cpu_started,
        "peak_memory_bytes": peak_memory(),
        "memory_bytes": memory(),
    }


def describe(reference: str, options: dict[str, Any]) -> dict[str, Any]:
    """What a converter says about itself, and what it finds wrong with its options."""
    try:
        converter = load(reference)
        return {
            "kind": "described",
            "name": converter.name,
            "version": converter.version,
            "api_version": converter.api_version,
            "datasets": list(converter.datasets),
            "options_error": converter.options_error(options),
        }
    except Exception:  # noqa: BLE001 - an import of a plugin may fail in any way
        return {"kind": "failed", "reason": traceback.format_exc(limit=-3)}


def load(reference: str) -> Converter:
    """The converter at `module:attribute`, which is one or makes one when called."""
    module, _, attribute = reference.partition(":")
    found: Any = importlib.import_module(module)
    for name in attribute.split("."):
        found = getattr(found, name)
    converter: Converter = found() if isinstance(found, type) else found
    return converter


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until there are no more."""
    frames.write_frame(replies, b'{"kind":"ready"}')
    replies.flush()
    while (request := frames.read_frame(requests)) is not None:
        if request["kind"] == "convert":
            answer = convert(frames.decode_job(request["job"]), replies)
        else:
            answer = describe(request["converter"], request["options"])
        frames.write_frame(replies, orjson.dumps(answer))
        replies.flush()


def limit(job: frames.Job) -> None:
    """CPU time counts from the start of the process, so each document's allowance goes on top of what is used."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    _lower(resource.RLIMIT_CPU, math.ceil(used + job.cpu_seconds))
    _lower(resource.RLIMIT_DATA, job.memory_bytes + DATA_SLACK)


def _lower(kind: int, soft: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000


def renounce(parent: int) -> None:
    """Give up what a converter never needs: the network, core files; and never outlive the parent."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    # An empty network namespace of our own; for an ordinary user within a user namespace. (Not for root: there it
    # would cost the right to read.) Where neither is allowed, the empty environment and closed files have to do.
    if libc.unshare(CLONE_NEWNET) != 0 and os.geteuid() != 0:
        libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)
    # After unshare, because new credentials reset both: /proc/self stays ours, and we die with the parent.
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    with contextlib.suppress(OSError):
        # When the machine runs out of memory, let the kernel take us and not the database.
        Path("/proc/self/oom_score_adj").write_text("1000")
    if os.getppid() != parent:
        raise SystemExit("the parent died before we were ready")


def reset_peak_memory() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Bytes, since the last reset; where that is not possible since the start of the process."""
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def memory() -> int:
    """Bytes, now."""
    return _status("VmRSS")


def _status(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def main() -> None:
    parent = int(sys.argv[1])
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What a converter prints goes to the log, not between the frames.
    faulthandler.enable()
    renounce(parent)
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
