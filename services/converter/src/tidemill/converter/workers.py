"""Worker processes: each converts one document at a time, within limits, so that it can harm nothing else."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, Literal, Self

import orjson
import psutil

from tidemill.converter import frames
from tidemill.converter.policy import Crash, Death, Limits, Loss, Wear, read_death, refusal_at_sight, unusable
from tidemill.plugin.conversion import API_VERSION, Accounting, Described, Outcome, Progress, Record, Refusal, Rejected

log = logging.getLogger(__name__)


class ConverterCrashed(Exception):
    """The converter failed on this document: an exception, a signal, an exit."""


class WorkerLost(Exception):
    """A worker process was ended from outside or could not be started; the document is innocent."""


class ConverterUnusable(Exception):
    """The converter cannot be imported, has another interface version, or refuses its options."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a converter says about itself."""

    name: str
    version: str
    datasets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ending:
    """How the conversion of a whole document ended, and its sums; after a resumption too."""

    outcome: Outcome
    reason: str
    records: int
    rejected: Mapping[str, int]
    """By reason."""
    accounting: tuple[Accounting, ...]
    warnings: tuple[str, ...]
    cpu_seconds: float
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class Part:
    """A batch of a document's items. The same document gives the same parts; the last one has the ending."""

    index: int
    records: tuple[Record, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    described: Described = field(default_factory=Described)
    ending: Ending | None = None


ENVIRONMENT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
"""All that a worker gets to see of our environment: there are passwords in the rest."""

START_TIMEOUT = timedelta(seconds=30)
END_TIMEOUT = timedelta(seconds=2)
WARNINGS_KEPT = 100
_LEFTOVER_BYTES = 1 << 20


def _ignore(_: object) -> None:
    pass


class Workers:
    """A pool of worker processes. At most `size` convert at the same time; `spare` more are kept ready, so that
    nobody waits for the start of a process. The first ones start when they are needed."""

    def __init__(
        self,
        size: int,
        *,
        spare: int = 1,
        wear: Wear | None = None,
        on_busy: Callable[[int], object] = _ignore,
        on_replaced: Callable[[str], object] = _ignore,
    ) -> None:
        """`on_busy` hears how many are at work, `on_replaced` why one was given up: worn, limit, crashed, cancelled."""
        self.size = size
        self._spare = spare
        self._wear = wear or Wear()
        self._on_busy = on_busy
        self._on_replaced = on_replaced
        self._free = asyncio.Semaphore(size)
        self._idle: list[_Process] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._watch = _Watch()
        self._busy: set[_Process] = set()
        self.closed = False

    async def __aenter__(self) -> Self:
        self._watch.start()
        self._keep_spare()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed = True
        for task in list(self._starting):
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        await asyncio.gather(*(process.end() for process in self._idle), *(process.kill() for process in self._busy))
        self._idle.clear()
        self._watch.stop()

    @property
    def pids(self) -> list[int]:
        """Of all worker processes, busy or idle."""
        return [process.pid for process in (*self._busy, *self._idle)]

    async def describe(self, reference: str, options: Mapping[str, Any]) -> Description:
        """Import a converter, in a worker, and have it check its options; ConverterUnusable says what is wrong."""
        async with self._process() as process:
            return await process.describe(reference, options)

    async def convert(
        self, job: frames.Job, limits: Limits, on_progress: Callable[[Progress], None] | None = None
    ) -> AsyncGenerator[Part]:
        """Convert a document in a worker process; parts come as the caller asks for them, the last with the ending.

        Leaving the loop ends the process. Raises ConverterCrashed, WorkerLost.
        """
        refusal = refusal_at_sight(job.size_bytes, limits)
        if refusal is not None:
            yield Part(job.skip, ending=_Sums().ending(refusal.outcome, refusal.reason, 0.0, 0))
            return
        job = replace(job, memory_bytes=limits.memory_bytes, cpu_seconds=limits.cpu.total_seconds(), pages=limits.pages)
        async with self._process() as process, contextlib.aclosing(process.convert(job, limits, on_progress)) as parts:
            async for part in parts:
                yield part

    @contextlib.asynccontextmanager
    async def _process(self) -> AsyncIterator["_Process"]:
        """A process for one request; it goes back to the others only if it could finish that in peace."""
        async with self._free:
            self._idle = [process for process in self._idle if process.alive]
            process = self._idle.pop() if self._idle else await _Process.start(self._watch)
            if self.closed:  # While it started: nobody would end it.
                await asyncio.shield(process.end())
                raise WorkerLost("The workers were closed while one of them started.")
            self._busy.add(process)
            self._on_busy(len(self._busy))
            self._keep_spare()
            reason = "limit"
            try:
                yield process
            except BaseException as error:
                reason = "crashed" if isinstance(error, (ConverterCrashed, WorkerLost)) else "cancelled"
                raise
            finally:
                self._busy.discard(process)
                self._on_busy(len(self._busy))
                if process.at_rest:
                    reason = "worn"
                if process.at_rest and not self._wear.replace(process.documents, process.memory_bytes):
                    await self._put_back(process)
                else:
                    self._on_replaced(reason)
                    await asyncio.shield(process.end() if process.at_rest else process.kill())
                self._keep_spare()

    async def _put_back(self, process: "_Process") -> None:
        if self.closed or len(self._idle) >= self.size + self._spare:
            await asyncio.shield(process.end())
        else:
            self._idle.append(process)

    def _keep_spare(self) -> None:
        missing = self._spare - len(self._idle) - len(self._starting)
        for _ in range(0 if self.closed else missing):
            task = asyncio.create_task(self._start_spare())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _start_spare(self) -> None:
        try:
            process = await _Process.start(self._watch)
        except WorkerLost as error:
            log.warning("no spare worker: %s", error)
        else:
            self._idle.append(process)


class _Sums:
    """What adds up over the parts of a document."""

    def __init__(self) -> None:
        self.records = 0
        self.rejected: Counter[str] = Counter()
        self.accounting: list[Accounting] = []
        self.warnings: dict[str, None] = {}

    def add(self, tally: Mapping[str, Any]) -> None:
        self.records += tally["records"]
        self.rejected.update(tally["rejected"])
        self.accounting += map(frames.decode_accounting, tally["accounting"])
        room = WARNINGS_KEPT - len(self.warnings)
        self.warnings.update(dict.fromkeys(tally["warnings"][:room]))

    def ending(self, outcome: Outcome, reason: str, cpu_seconds: float, peak_memory_bytes: int) -> Ending:
        return Ending(
            outcome,
            reason,
            self.records,
            dict(self.rejected),
            tuple(self.accounting),
            tuple(self.warnings),
            cpu_seconds,
            peak_memory_bytes,
        )


class _Process:
    """One worker process, seen from its parent."""

    def __init__(self, child: asyncio.subprocess.Process, watch: "_Watch") -> None:
        assert child.stdin and child.stdout and child.stderr
        self.pid = child.pid
        self.documents = 0
        self.memory_bytes = 0
        self.at_rest = True
        """It has answered everything it was asked."""
        self._child = child
        self._requests = child.stdin
        self._replies = child.stdout
        self._reading = asyncio.Lock()
        self._watch = watch
        self._last_words = bytearray()
        self._listener = asyncio.create_task(self._listen(child.stderr))

    @classmethod
    async def start(cls, watch: "_Watch") -> "_Process":
        """A process that is ready for its first document."""
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-X", "utf8", "-m", "tidemill.converter.worker", str(os.getpid())),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # Of a set's order nothing may depend, so it had better not change.
                env={**environment, "PYTHONHASHSEED": "0"},
                # A Ctrl-C at the terminal is for us, not for them.
                process_group=0,
            )
        except OSError as error:
            raise WorkerLost(f"A worker process could not be started: {error}") from error
        process = cls(child, watch)
        try:
            async with asyncio.timeout(START_TIMEOUT.total_seconds()):
                await process._receive()
        except (asyncio.IncompleteReadError, TimeoutError) as error:
            await process.kill()
            raise WorkerLost(f"A worker process did not start: {process._words()}") from error
        except BaseException:
            await asyncio.shield(process.kill())
            raise
        return process

    @property
    def alive(self) -> bool:
        return self._child.returncode is None

    @cached_property
    def _outside(self) -> psutil.Process:
        """The process as everybody can see it."""
        try:
            return psutil.Process(self.pid)
        except psutil.Error as error:
            raise WorkerLost(f"The worker was gone before it began: {error}") from error

    async def describe(self, reference: str, options: Mapping[str, Any]) -> Description:
        self.at_rest = False
        answer = await self._ask(orjson.dumps({"kind": "describe", "converter": reference, "options": options}))
        self.at_rest = True
        if answer["kind"] == "failed":
            raise ConverterUnusable(f"{reference} cannot be used: {answer['reason']}")
        wrong = unusable(answer, reference, API_VERSION)
        if wrong is not None:
            raise ConverterUnusable(wrong)
        return Description(answer["name"], answer["version"], tuple(answer["datasets"]))

    async def _ask(self, request: bytes) -> Any:
        try:
            async with asyncio.timeout(START_TIMEOUT.total_seconds()):
                self._send(request)
                return await self._receive()
        except TimeoutError as error:
            await self.kill()
            raise ConverterUnusable(f"The worker hangs while it imports a converter: {self._words()}") from error
        except asyncio.IncompleteReadError as error:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_TIMEOUT.total_seconds()):
                    await self._child.wait()
            killed = self._child.returncode == -signal.SIGKILL
            await self.kill()
            # Killed from outside says nothing about the converter; whatever else ended it was its import.
            wrong = WorkerLost if killed else ConverterUnusable
            raise wrong(f"The worker ended while it imported a converter: {self._words()}") from error

    async def convert(
        self, job: frames.Job, limits: Limits, on_progress: Callable[[Progress], None] | None
    ) -> AsyncGenerator[Part]:
        self.at_rest = False
        sums = _Sums()
        described = Described()
        left = limits.time.total_seconds()
        held: Part | None = None
        index = job.skip
        with self._watch.over(self._outside, limits.memory_bytes) as watched:
            self._send(frames.encode_job(job))
            while True:
                began = time.monotonic()
                try:
                    async with asyncio.timeout(left):
                        frame = await self._receive()
                except TimeoutError:
                    ending = await self._death(watched, limits, sums, "time")
                    break
                except asyncio.IncompleteReadError:
                    ending = await self._death(watched, limits, sums, None)
                    break
                left = max(0.0, left - (time.monotonic() - began))
                match frame["kind"]:
                    case "part":
                        if held is not None:
                            yield held
                        held = Part(
                            index,
                            tuple(map(frames.decode_record, frame["records"])),
                            tuple(map(frames.decode_rejected, frame["rejected"])),
                            described,
                        )
                        index += 1
                        await asyncio.sleep(0)  # Frames that wait in the buffer would follow without a pause.
                    case "tally":
                        sums.add(frame)
                    case "about":
                        described = frames.decode_described(frame["about"])
                    case "progress":
                        if on_progress is not None:
                            on_progress(Progress(frame["done"], frame["total"]))
                    case _:
                        ending = self._end_of_document(frame, sums, watched)
                        break
        yield replace(held or Part(index, described=described), ending=ending)

    def _end_of_document(self, frame: Mapping[str, Any], sums: _Sums, watched: "_Watched") -> Ending:
        if frame["outcome"] == Outcome.CRASHED:
            raise ConverterCrashed(frame["reason"])
        self.documents += 1
        self.memory_bytes = frame["memory_bytes"]
        self.at_rest = frame["outcome"] != Outcome.RESOURCE_LIMIT
        peak = frame["peak_memory_bytes"] or watched.peak_memory_bytes
        return sums.ending(Outcome(frame["outcome"]), frame["reason"], frame["cpu_seconds"], peak)

    async def _death(
        self, watched: "_Watched", limits: Limits, sums: _Sums, ended_by_us: Literal["time"] | None
    ) -> Ending:
        if ended_by_us is None:
            await self._await_exit()
        await self.kill()
        status = self._child.returncode
        assert status is not None
        death = Death(status, "memory" if watched.exceeded else ended_by_us, watched.peak_memory_bytes, self._words())
        match read_death(death, limits):
            case Crash(reason):
                raise ConverterCrashed(reason)
            case Loss(reason):
                raise WorkerLost(reason)
            case Refusal(outcome=outcome, reason=reason):
                return sums.ending(outcome, reason, watched.cpu_seconds, watched.peak_memory_bytes)

    async def _await_exit(self) -> None:
        """The pipe ends a moment before the process does."""
        try:
            async with asyncio.timeout(END_TIMEOUT.total_seconds()):
                await self._child.wait()
        except TimeoutError:
            raise ConverterCrashed("The converter closed the pipe to its parent.") from None

    def _send(self, content: bytes) -> None:
        # Requests are small, and only sent to a process that waits for one: nothing to drain.
        with contextlib.suppress(ConnectionError):
            self._requests.write(frames.LENGTH.pack(len(content)) + content)

    async def _receive(self) -> Any:
        async with self._reading:
            head = await self._replies.readexactly(frames.LENGTH.size)
            return orjson.loads(await self._replies.readexactly(frames.LENGTH.unpack(head)[0]))

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        while words := await stderr.read(4096):
            self._last_words = (self._last_words + words)[-4096:]

    def _words(self) -> str:
        return self._last_words.decode(errors="replace").strip()

    async def end(self) -> None:
        """Let it go home: it ends when nobody can ask it anything any more."""
        self._requests.close()
        try:
            async with asyncio.timeout(END_TIMEOUT.total_seconds()):
                await self._gone()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """With all that it started itself: whoever holds its pipes open would keep it among the living."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self._gone()

    async def _gone(self) -> None:
        """asyncio tells of an exit when all pipes have ended, and does not see the end of one that it stopped reading
        because nobody took what came: so what is left is read."""
        async with self._reading:
            while await self._replies.read(_LEFTOVER_BYTES):
                pass
        await self._child.wait()
        await self._listener


class _Watched:
    """What is seen of a process at work."""

    def __init__(self, process: psutil.Process, memory_bytes: int) -> None:
        self.exceeded = False
        self.peak_memory_bytes = 0
        self.cpu_seconds = 0.0
        self._limit_bytes = memory_bytes
        self._process = process
        self._cpu_before = self._cpu()

    def look(self) -> None:
        with contextlib.suppress(psutil.Error):
            memory_bytes = self._process.memory_info().rss
            self.peak_memory_bytes = max(self.peak_memory_bytes, memory_bytes)
            self.cpu_seconds = self._cpu() - self._cpu_before
            if memory_bytes > self._limit_bytes:
                self.exceeded = True
                self._process.kill()

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


class _Watch:
    """Looks at the memory of processes at work, and ends those that exceed their limit.

    A thread, so that a busy event loop does not delay it; and no resource limit of the kernel, because a native
    library that is refused memory aborts, which cannot be told from a defect.
    """

    EVERY_SECONDS = 0.01

    def __init__(self) -> None:
        self._watched: set[_Watched] = set()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="worker-memory-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    @contextlib.contextmanager
    def over(self, process: psutil.Process, memory_bytes: int) -> Iterator[_Watched]:
        try:
            watched = _Watched(process, memory_bytes)
        except psutil.Error as error:
            raise WorkerLost(f"The worker was gone before it began: {error}") from error
        with self._changed:
            self._watched.add(watched)
            self._changed.notify()
        try:
            yield watched
        finally:
            with self._changed:
                self._watched.discard(watched)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._watched or self._stopped)
                if self._stopped:
                    return
                watched = set(self._watched)
            # What is done within this time is not looked at: most pages are.
            time.sleep(self.EVERY_SECONDS)
            with self._changed:
                watched &= self._watched
            for one in watched:
                one.look()
