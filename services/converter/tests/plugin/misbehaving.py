"""Converters that do what a document may make a converter do. Worker processes import this module by name."""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import ClassVar

from tidemill.plugin import (
    Accounting,
    Described,
    Document,
    Item,
    Options,
    Outcome,
    Position,
    Progress,
    Record,
    Refusal,
    Rejected,
)


class Lines:
    """A good one: a record per line `key=value`, a rejected row for every other."""

    name: ClassVar[str] = "lines"
    version: ClassVar[str] = "1"
    api_version: ClassVar[int] = 1
    datasets: ClassVar[tuple[str, ...]] = ("test.line",)

    def options_error(self, options: Options) -> str | None:
        unknown = sorted(set(options) - {"zone"})
        return f"unknown option {unknown[0]}; valid: zone" if unknown else None

    def convert(self, document: Document, options: Options) -> Iterator[Item]:
        yield Described(valid_from=datetime(2025, 8, 15, tzinfo=UTC), pages=1, title="lines")
        accepted = rejected = 0
        for index, line in enumerate(document.content):
            key, _, value = line.decode().rstrip("\n").partition("=")
            if key == "page":
                yield Record("test.line", key, {}, Position(page=int(value)))
            if value:
                accepted += 1
                yield Record("test.line", key, {"value": value}, Position(item=index), raw=line.decode())
            else:
                rejected += 1
                yield Rejected("no_value", "there is no value after the key", key, Position(item=index))
        yield Progress(done=accepted, warning="read to the end")
        yield Accounting(None, accepted + rejected, accepted, rejected)


class Obedient(Lines):
    """Does what the document's first word says, after as many records as its second says."""

    name = "obedient"

    def convert(self, document: Document, options: Options) -> Iterator[Item]:
        order, _, count = document.content.read().decode().partition(" ")
        for number in range(0 if order in ("connect", "teams", "walk") else int(count or 0)):
            yield Record("test.line", str(number), {"value": number, "text": "x" * 100})
        if order == "teams":
            for number in range(int(count)):
                yield Record("test.side", str(number), {"team": f"Team {number}", "league": "Cup"})
            return
        if order == "walk":
            for step in range(4):
                time.sleep(0.5)
                yield Progress(done=step + 1, total=4)
            return
        odd = getattr(self, order)
        if order in ("naive", "strange", "unbalanced", "late", "guess", "nul", "advance"):
            yield odd()
        elif order == "connect":
            self.connect(int(count))
        else:
            odd()

    def done(self) -> None:
        pass

    def naive(self) -> Item:
        return Record("test.line", "naive", {}, valid_from=datetime(2025, 8, 15))  # noqa: DTZ001

    def strange(self) -> Item:
        return Record("test.line", "strange", {"path": object()})

    def unbalanced(self) -> Item:
        return Accounting(1, 3, 1, 1)

    def late(self) -> Item:
        return Described()

    def guess(self) -> Item:
        return "record"  # type: ignore[return-value]

    def nul(self) -> Item:
        return Record("test.line", "nul", {"a\x00b": ["\ud800", 1, {"x": "é\x00"}]}, raw="\\u0000 in letters")

    def advance(self) -> Item:
        return Progress(done=1, total=2)

    def hang(self) -> None:
        time.sleep(3600)

    def spin(self) -> None:
        while True:
            pass

    def eat(self) -> None:
        hoard = []
        while True:
            hoard.append(bytearray(b"x" * 1_000_000))

    def eat_at_once(self) -> None:
        bytearray(64 * 2**30)

    def eat_natively(self) -> None:
        """As a C library does, without the interpreter's lock."""
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        while True:
            block = libc.malloc(ctypes.c_size_t(200_000_000))
            ctypes.memset(block, 1, 200_000_000)

    def fault(self) -> None:
        ctypes.string_at(0)

    def abort(self) -> None:
        os.abort()

    def leave(self) -> None:
        os._exit(3)

    def killed(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def mute(self) -> None:
        for descriptor in range(3, 20):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        time.sleep(3600)

    def fail(self) -> None:
        raise KeyError("kickoff")

    def refuse(self) -> None:
        raise Refusal(Outcome.SCANNED, "There is no text layer.")

    def chatter(self) -> None:
        print("to standard output")
        print("to standard error", file=sys.stderr)

    def connect(self, port: int) -> None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
        except OSError as error:
            raise Refusal(Outcome.UNREADABLE, str(error)) from error

    def environment(self) -> None:
        raise Refusal(Outcome.UNRECOGNISED, " ".join(sorted(os.environ)))


class OtherInterface(Lines):
    name = "other"
    api_version = 99
