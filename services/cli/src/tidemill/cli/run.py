"""`tidemill run`: begin a run of a source now, and wait for its end if asked to."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.asking import SCHEDULER, said
from tidemill.cli.running import Assignments, Output, OutputOption, addresses, copyable, fail, read_config

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

LOOK_SECONDS = 2.0
"""Between questions how the run stands; its end is told at once."""
PATIENCE_SECONDS = 60.0
NO_ANSWER = ("404", "504")
"""Nobody listens, and nobody answered in time."""
ENDED = ("complete", "partial", "blocked", "failed", "cancelled", "timed_out")
OUTCOMES = ("new", "changed", "reappeared", "unchanged", "gone", "failed")


def register(app: typer.Typer) -> None:
    app.command("run")(run)


def run(
    source: Annotated[str, typer.Argument(help="The source.")],
    wait: Annotated[
        bool, typer.Option("--wait", help="Show how it goes, and end with it; status 0 if complete.")
    ] = False,
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="What this run does otherwise.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for those who wonder.")] = "",
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Begin a run of a source now."""
    from tidemill.common.bus.client import CommandFailed

    parameters = said(source=source, params=_params(param or ()), reason=reason)
    url = addresses(read_config(assignments)).nats_url
    try:
        answer = asyncio.run(_begin(url, source, parameters, wait))
    except CommandFailed as failed:
        fail(str(failed))
    except KeyboardInterrupt:
        typer.echo(copyable("it goes on without you; `tidemill runs list` shows it"), err=True)
        raise typer.Exit(130) from None
    if output is Output.JSON:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    elif wait:
        typer.echo(ending(answer))
    else:
        why = f" ({answer['reason']})" if answer.get("reason") else ""
        typer.echo(copyable(f"{answer['run']} is {answer['state']}{why}; `tidemill runs show {answer['run']}`"))
    if wait and answer["state"] != "complete":
        raise typer.Exit(1)


def _params(given: Sequence[str]) -> dict[str, str]:
    params = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{one!r} is no KEY=VALUE, for instance --param issue=57")
        params[key] = value
    return params


async def _begin(url: str, source: str, parameters: Mapping[str, Any], wait: bool) -> dict[str, Any]:
    from tidemill.common.bus.client import open_client, request_command

    async with open_client(url) as client:
        if not wait:
            return await request_command(client, SCHEDULER, "run", parameters)
        following = await Following.open(client, source)
        return await following.until_ended(await request_command(client, SCHEDULER, "run", parameters))


class Following:
    """What is told of a source's runs from now on."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._heard = asyncio.Event()
        self._finished: dict[str, dict[str, Any]] = {}
        self._files: dict[str, dict[str, Any]] = {}
        """Run to what was told last of its files."""

    @classmethod
    async def open(cls, client: Client, source: str) -> Following:
        """Listens before the run is asked for: it may be over in no time."""
        following = cls(client)
        await client.subscribe(f"tidemill.run.finished.{source}", cb=following._on_finished)
        await client.subscribe(f"tidemill.progress.*.{source}", cb=following._on_progress)
        await client.flush()
        return following

    async def until_ended(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """How it ended; meanwhile a bar on a terminal, elsewhere a line for each state."""
        name = run["run"]
        standing: Mapping[str, Any] = run
        with Bar(name, live=sys.stderr.isatty()) as bar:
            while name not in self._finished:
                bar.show(standing, self._files.get(name))
                self._heard.clear()
                try:
                    await asyncio.wait_for(self._heard.wait(), LOOK_SECONDS)
                except TimeoutError:
                    (standing,) = (await self.status(run=name))["runs"]
                    if standing["state"] in ENDED:  # Told while the connection was away.
                        return dict(standing)
            return self._finished[name]

    async def status(self, **of: str) -> dict[str, Any]:
        """What the scheduler says to that; one that is busy, or starts again, is asked again for a while."""
        from tidemill.common.bus.client import CommandFailed, request_command

        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await request_command(self._client, SCHEDULER, "status", of)
            except CommandFailed as error:
                if error.code not in NO_ANSWER or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(LOOK_SECONDS)

    async def _on_finished(self, message: Msg) -> None:
        from tidemill.common.events import RunFinished

        event = RunFinished.model_validate_json(message.data)
        self._finished[event.run] = event.model_dump(mode="json")
        self._heard.set()

    async def _on_progress(self, message: Msg) -> None:
        said = json.loads(message.data)
        self._files[said.get("run", "")] = said
        self._heard.set()


class Bar:
    """A bar on a terminal; elsewhere a line whenever the state is another one."""

    def __init__(self, run: str, *, live: bool) -> None:
        self._run = run
        self._live = live
        self._line = ""
        self.share = 0.0
        """Of the bar that is filled."""
        self._progress: Any = None

    def __enter__(self) -> Bar:
        if self._live:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task(self._run, total=None)
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, standing: Mapping[str, Any], file: Mapping[str, Any] | None) -> None:
        line = described(self._run, standing, file)
        if self._progress is None:
            state = f"{self._run}: {standing['state']}"
            if state != self._line:
                typer.echo(state, err=True)
            self._line = state
            return
        done, total = _measure(standing, file)
        self.share = done / total if total else 0.0
        self._progress.update(self._task, description=line, completed=done, total=total)


def described(run: str, standing: Mapping[str, Any], file: Mapping[str, Any] | None) -> str:
    """One line: the state, the items, the file that moves."""
    why = f" ({standing['reason']})" if standing.get("reason") else ""
    parts = [f"{run}: {standing['state']}{why}"]
    if standing.get("items"):
        parts.append(f"{_done(standing)}/{standing['items']} items")
    if file:
        name, stage = file.get("name") or file.get("item", ""), file.get("stage", "download")
        amount = f"{file['bytes'] / 1e6:,.1f} MB" if "bytes" in file else f"{file.get('done', 0):,}"
        parts.append(f"{stage} {name} {amount}")
    return " · ".join(parts)


def _measure(standing: Mapping[str, Any], file: Mapping[str, Any] | None) -> tuple[float, float | None]:
    """Of the file while one item is all there is, else of the items."""
    if file and file.get("total") and standing.get("items", 1) <= 1:
        return float(file.get("bytes", file.get("done", 0))), float(file["total"])
    return float(_done(standing)), float(standing["items"]) if standing.get("items") else None


def _done(standing: Mapping[str, Any]) -> int:
    return sum(standing.get(name, 0) for name in OUTCOMES)


def ending(answer: Mapping[str, Any]) -> str:
    """One line."""
    told = ", ".join(f"{answer[name]} {name}" for name in OUTCOMES if answer.get(name))
    why = f" ({answer['reason']})" if answer.get("reason") else ""
    return f"{answer['run']} is {answer['state']}{why}: {told or 'nothing was due'}"
