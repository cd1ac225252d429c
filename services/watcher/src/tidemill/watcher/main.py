"""Opens and wires the watcher."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from tidemill.common.config.sources import SourceFile
from tidemill.common.events import DocumentRefused, DocumentStored, DocumentUnchanged, RunPlanned
from tidemill.common.service import Context, ServiceSpec, Uses, Wiring, main
from tidemill.watcher.folder import Folder
from tidemill.watcher.folders import Folders
from tidemill.watcher.intake import Intake
from tidemill.watcher.recorder import Recorder
from tidemill.watcher.settings import WatcherSettings
from tidemill.watcher.tables import bus, metadata


@asynccontextmanager
async def open_watcher(context: Context) -> AsyncIterator[Wiring]:
    settings = context.settings
    assert isinstance(settings, WatcherSettings)
    recorder = Recorder(context.bus, context.telemetry.metrics)

    def watch(source: SourceFile) -> Folder:
        assert source.watch is not None
        if settings.create_folders and source.watch.folder.is_relative_to(context.config.common.data_dir.absolute()):
            source.watch.folder.mkdir(parents=True, exist_ok=True)
        intake = Intake(
            source=source,
            watch=source.watch,
            archive=context.archive,
            bus=context.bus,
            engine=context.engine,
            recorder=recorder,
            telemetry=context.telemetry,
        )
        return Folder(intake, parallel=settings.parallel)

    folders = Folders(context.sources, watch)
    yield Wiring(
        tasks=(recorder.run, folders.run),
        checks={"folders": folders.complaint},
        reconfigure=folders.change,
    )


SPEC = ServiceSpec(
    name="watcher",
    version=version("tidemill-watcher"),
    title="Takes files that appear in a folder, once, and keeps their bytes",
    settings=WatcherSettings,
    metadata=metadata,
    tables=bus,
    migrations="tidemill.watcher.migrations",
    uses=Uses(publishes=(DocumentStored, DocumentUnchanged, DocumentRefused, RunPlanned)),
    open=open_watcher,
)


def run() -> None:
    main(SPEC)
