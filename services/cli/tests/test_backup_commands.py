"""`tidemill backup` and `tidemill restore`: on real servers, with what breaks."""

import asyncio
import json
import random
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import nats
import pyrage
import pytest

from tidemill.cli.backups.contents import Copied, copy_contents
from tidemill.cli.backups.errors import BackupDamaged, BackupFailed
from tidemill.cli.backups.layout import Folder, Indexed, Manifest, name_of
from tidemill.cli.backups.nightly import is_due
from tidemill.cli.backups.sealed import Kept, Seal, check, unseal
from tidemill.common.archive import Archive
from tidemill.common.archive.store import open_store
from tidemill.common.bus.topology import CONTROL_BUCKET, ensure_topology
from tidemill.common.config.settings import BackupSettings
from tidemill.common.servers import NatsServer
from tidemill.common.service import find_services
from tidemill.common.testing.fixtures import NewDatabase

NOW = datetime(2026, 3, 2, 2, 15, tzinfo=UTC)
CONTENT = b"Ferencvaros - Ujpest 1,85\n" * 1000
MANY = 300
"""Messages that do not fit into one chunk of a snapshot, nor into what the server sends without an answer."""


class Here:
    """A place whose servers hold something, without services."""

    def __init__(self, place: Any, nats_url: str, database_url: str) -> None:
        self.place = place
        self.nats_url = nats_url
        self.database_url = database_url
        self.folder = place.folder / "backups"
        place.environment |= {"NATS_URL": nats_url, "DATABASE_URL": database_url}

    def __call__(self, *words: str) -> tuple[int, str]:
        status, output = self.place.here(*words)
        return status, output

    def sql(self, statement: str, *arguments: object, url: str = "") -> Any:
        async def ask() -> Any:
            connection = await asyncpg.connect(url or self.database_url)
            try:
                return await connection.fetchval(statement, *arguments)
            finally:
                await connection.close()

        return asyncio.run(ask())

    def archive(self, content: bytes) -> str:
        async def put() -> str:
            async with Archive.open((self.place.folder / "data" / "archive").as_uri()) as archive:
                return (await archive.put_bytes(content)).sha256

        return asyncio.run(put())

    def on_nats(self, work: Callable[[Any], Any], url: str = "") -> Any:
        async def connected() -> Any:
            client = await nats.connect(url or self.nats_url)
            try:
                return await work(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(connected())

    def backup(self, *words: str) -> dict[str, Any]:
        status, output = self("backup", str(self.folder), "-o", "json", *words)
        assert status == 0, output
        found: dict[str, Any] = json.loads(output.splitlines()[-1])
        return found


@pytest.fixture
def here(place: Any, nats_url: str, new_database: NewDatabase) -> Here:
    """With an outbox that was sent, messages, a stop, and two contents."""
    here = Here(place, nats_url, new_database(*find_services(["mill"])))
    here.archive(CONTENT)
    here.archive(bytes(range(256)))
    here.sql(
        "INSERT INTO mill.outbox (event_id, subject, payload, headers, sent_at, server_id) "
        "VALUES ('e', 'tidemill.document.stored.hi.paper', '{}', '{}', now(), 'THE SERVER THAT IS GONE')"
    )
    chance = random.Random(1)

    async def fill(js: Any) -> None:
        await ensure_topology(js)
        for number in range(MANY):
            await js.publish(f"tidemill.trigger.s{number}", chance.randbytes(20_000))
        await js.publish(f"$KV.{CONTROL_BUCKET}.stop.source.paper", b"repairs")
        await js.add_consumer("TRIGGERS", durable_name="half", ack_policy="explicit")
        messages = await (await js.pull_subscribe_bind("half", "TRIGGERS")).fetch(7)
        for message in messages:
            await message.ack_sync()

    here.on_nats(fill)
    (place.folder / "tidemill.yaml").write_text("log: {level: debug}\n")
    (place.folder / "sources").mkdir()
    (place.folder / "sources" / "paper.yaml").write_text("source: paper\nwatch: {folder: inbox}\n")
    return here


@pytest.mark.servers
@pytest.mark.slow
def test_what_was_backed_up_is_there_after_a_restore_elsewhere(here: Here, new_database: NewDatabase) -> None:
    first = here.backup()
    assert first["contents"]["new"] == 2 and first["messages"] == MANY + 1 and not first["encrypted"]
    here.archive(b"another one")
    second = here.backup()
    assert second["contents"]["new"] == 1 and second["contents"]["count"] == 3
    assert here("backup", "list", str(here.folder))[1].count("Z ") == 2
    status, output = here("backup", "verify", str(here.folder), "--rehearse")
    assert status == 0 and "restored, and all of it is as it was" in output

    status, output = here("restore", str(here.folder))
    assert status == 1 and "data/archive is not empty" in output
    elsewhere = here.place.folder / "elsewhere"
    elsewhere.mkdir()
    here.place.folder = elsewhere
    status, output = here("restore", str(here.folder))
    assert status == 1 and "the database is not empty" in output
    here.place.environment["DATABASE_URL"] = url = new_database()
    status, output = here("restore", str(here.folder))
    assert status == 1 and "NATS has streams already" in output
    del here.place.environment["NATS_URL"]
    status, output = here("restore", str(here.folder), "--name", first["name"])
    assert status == 0 and "2 contents of the archive" in output, output
    assert (elsewhere / "tidemill.yaml").read_text() == "log: {level: debug}\n"
    assert (elsewhere / "sources" / "paper.yaml").exists()
    assert not (elsewhere / "data" / ".restoring").exists()
    assert here("archive", "verify", "-o", "json")[1].splitlines()[-1] == '{"good": 2, "bad": 0, "size_bytes": 26256}'
    # What is published again: another server may have an older stream.
    assert here.sql("SELECT count(*) FROM mill.outbox WHERE sent_at IS NULL AND server_id IS NULL", url=url) == 1

    async def look(js: Any) -> None:
        assert (await js.stream_info("TRIGGERS")).state.messages == MANY
        half = await js.consumer_info("TRIGGERS", "half")
        assert (half.num_pending, half.ack_floor.consumer_seq) == (MANY - 7, 7)
        bucket = await js.key_value(CONTROL_BUCKET)
        assert (await bucket.get("stop.source.paper")).value == b"repairs"
        wanted = random.Random(1)
        for number in range(3):
            assert (await js.get_msg("TRIGGERS", seq=number + 1)).data == wanted.randbytes(20_000)

    with NatsServer(elsewhere / "data" / "nats") as server:
        here.on_nats(look, server.url)
    status, output = here("restore", str(here.folder))
    assert status == 1 and "is not empty: restore into another folder" in output


@pytest.mark.servers
@pytest.mark.slow
def test_only_who_has_the_key_reads_an_encrypted_backup(here: Here, new_database: NewDatabase) -> None:
    key = pyrage.x25519.Identity.generate()
    assert here.backup("--encrypt-to", str(key.to_public()))["encrypted"]
    assert here.backup("--encrypt-to", str(key.to_public()))["contents"]["new"] == 0
    written = [path for path in here.folder.rglob("*") if path.is_file() and path.suffix not in (".json", ".lock")]
    assert not any(CONTENT[:20] in path.read_bytes() for path in written)
    status, output = here("backup", "verify", str(here.folder))
    assert status == 0 and "what is inside was not looked at" in output
    here.place.folder = here.place.folder / "elsewhere"
    here.place.folder.mkdir()
    here.place.environment["DATABASE_URL"] = url = new_database()
    del here.place.environment["NATS_URL"]
    status, output = here("restore", str(here.folder))
    assert status == 1 and "name the age key" in output
    here.place.environment["TIDEMILL_AGE_IDENTITY"] = str(pyrage.x25519.Identity.generate())
    status, output = here("restore", str(here.folder))
    assert status == 1 and "cannot be decrypted with this key" in output
    here.place.environment["TIDEMILL_AGE_IDENTITY"] = str(key)
    status, output = here("backup", "verify", str(here.folder))
    assert status == 0 and "not looked at" not in output
    status, output = here("restore", str(here.folder))
    assert status == 0, output
    assert here.sql("SELECT count(*) FROM mill.outbox", url=url) == 1


@pytest.mark.servers
@pytest.mark.slow
def test_damage_is_named_and_what_is_whole_is_restored_all_the_same(here: Here, new_database: NewDatabase) -> None:
    here.backup()
    content = next(here.folder.glob("contents/*/*/*.zst"))
    content.write_bytes(content.read_bytes()[:-1] + b"!")
    status, output = here("backup", "verify", str(here.folder))
    assert status == 1 and f"{content.name} has the hash" in output and "1 damaged" in output
    content.rename(damaged := content.with_suffix(".away"))
    assert here.backup()["contents"]["new"] == 1  # It is missed, and written again.
    damaged.rename(content)
    here.place.folder = here.place.folder / "elsewhere"
    here.place.folder.mkdir()
    here.place.environment["DATABASE_URL"] = url = new_database()
    del here.place.environment["NATS_URL"]
    status, output = here("restore", str(here.folder))
    assert status == 1 and "1 contents of the archive" in output and f"not restored: {content}" in output
    assert here.sql("SELECT count(*) FROM mill.outbox", url=url) == 1

    dump = here.folder / Folder(here.folder).names()[-1] / "postgres.dump.zst"
    dump.write_bytes(dump.read_bytes()[:-1])
    here.place.environment["DATABASE_URL"] = url = new_database()
    shutil.rmtree(here.place.folder / "data")
    status, output = here("restore", str(here.folder))
    assert status == 1 and "bytes instead of" in output
    assert here.sql("SELECT to_regclass('mill.outbox')", url=url) is None
    assert not (here.place.folder / "data" / "nats").exists()


@pytest.mark.servers
@pytest.mark.slow
def test_a_damaged_archive_makes_a_backup_of_the_rest_that_says_so(here: Here) -> None:
    stored = next((here.place.folder / "data" / "archive").rglob("*.zst"))
    stored.write_bytes(stored.read_bytes()[:-1] + b"!")
    status, output = here("backup", str(here.folder))
    assert status == 1 and f"{stored.name} in the archive is damaged" in output
    assert Folder(here.folder).manifest().contents.count == 1
    assert here("backup", "verify", str(here.folder))[0] == 1


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.long
def test_up_makes_one_by_itself_and_tells_when_it_cannot(place: Any, eventually: Callable[..., None]) -> None:
    backups = place.folder / "backups"
    (place.folder / "tidemill.yaml").write_text("backup: {folder: backups}\n")
    up = place.up()
    eventually(lambda: Folder(backups).names())
    assert Folder(backups).manifest().tables["mill.ground"] == 0
    assert up.end() == 0
    shutil.rmtree(backups)
    backups.write_text("in the way")
    up = place.up()
    up.wait_for("The backup is not good:")
    up.wait_for(f"cannot write to {backups}")
    assert up.end() == 0


def test_a_backup_without_a_place_or_servers_says_what_to_do(place: Any) -> None:
    status, output = place.here("backup", "take")
    assert status == 1 and "set backup.folder" in output
    status, output = place.here("backup", "somewhere")
    assert status == 1 and "nothing runs with the data of" in output
    status, output = place.here("backup", "verify", "somewhere")
    assert status == 1 and "there is none" in output
    status, output = place.here("restore", "somewhere")
    assert status == 1 and "there is none" in output


def kept(folder: Path, content: bytes, seal: Seal = Seal()) -> tuple[Path, Kept]:  # noqa: B008 - it is frozen
    source = folder / "source"
    source.write_bytes(content)
    with source.open("rb") as file:
        return folder / f"kept{seal.suffix}", seal.write(file, folder / f"kept{seal.suffix}")


def test_a_kept_file_is_checked_by_size_and_hash(tmp_path: Path) -> None:
    path, written = kept(tmp_path, CONTENT)
    check(path, written)
    for damage in (CONTENT[:-1], CONTENT[:-1] + b"!"):
        path.write_bytes(damage)
        with pytest.raises(BackupDamaged):
            check(path, written)
    path.unlink()
    with pytest.raises(BackupDamaged, match="cannot be read"):
        check(path, written)


def test_what_is_no_recipient_is_refused() -> None:
    with pytest.raises(BackupFailed, match="no age recipient"):
        Seal(("age1nobody",))


def test_a_sealed_file_comes_back_as_it_was(tmp_path: Path) -> None:
    key = pyrage.x25519.Identity.generate()
    path, _ = kept(tmp_path, CONTENT, Seal((str(key.to_public()),)))
    with (tmp_path / "back").open("wb") as back:
        unseal(path, back, [key])
    assert (tmp_path / "back").read_bytes() == CONTENT
    with pytest.raises(BackupDamaged, match="cannot be decrypted"), (tmp_path / "back").open("wb") as back:
        unseal(path, back, [pyrage.x25519.Identity.generate()])


def make(folder: Folder, began_at: datetime, contents: dict[str, Indexed], problems: list[str] | None = None) -> str:
    name = name_of(began_at)
    draft = folder.path / ".draft"
    draft.mkdir(parents=True)
    manifest = {
        "tidemill": "0.1.0",
        "name": name,
        **dict.fromkeys(("began_at", "streams_at", "snapshot_at", "finished_at"), began_at),
        "recipients": [],
        "files": {"contents.zst": folder.write_index(draft, contents)},
        "tables": {},
        "postgres": "18",
        "streams": {},
        "contents": {"count": len(contents), "bytes": 0, "new": 0, "new_bytes": 0},
        "problems": problems or [],
    }
    folder.complete(draft, Manifest.model_validate(manifest))
    return name


def test_old_backups_go_with_the_contents_that_only_they_have(tmp_path: Path) -> None:
    archived = asyncio.run(archive_of(tmp_path / "archive", [b"old", b"both", b"new"]))
    folder = Folder(tmp_path / "backups")
    folder.contents.mkdir(parents=True)
    copied = Copied()
    copy_contents(open_store((tmp_path / "archive").as_uri()), folder.contents, {}, Seal(), copied)
    old, both, new = (copied.index[sha256] for sha256 in archived)
    make(folder, NOW - timedelta(days=20), {"old": old, "both": both})
    good = make(folder, NOW - timedelta(days=15), {"both": both, "new": new})
    assert folder.prune(timedelta(days=14), NOW) == [name_of(NOW - timedelta(days=20))]
    assert sorted(path.name for path in folder.contents.glob("*/*/*")) == sorted([archived[1], archived[2]])
    # The newest good one stays, however old; one that is damaged does not count.
    make(folder, NOW - timedelta(days=1), {"new": new}, ["damaged"])
    assert folder.prune(timedelta(days=14), NOW) == []
    assert good in folder.names()


async def archive_of(folder: Path, contents: list[bytes]) -> list[str]:
    async with Archive.open(folder.as_uri()) as archive:
        return [(await archive.put_bytes(content)).sha256 for content in contents]


def test_nothing_is_removed_while_a_backup_is_made(tmp_path: Path) -> None:
    with Folder(tmp_path).locked(), pytest.raises(BackupFailed, match="already"):
        Folder(tmp_path).prune(timedelta(days=1), NOW)


def test_what_a_killed_backup_left_is_none(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    (tmp_path / name_of(NOW)).mkdir()
    (tmp_path / name_of(NOW) / "postgres.dump.zst").write_bytes(b"half")
    assert folder.names() == []
    with pytest.raises(BackupDamaged, match="there is none"):
        folder.manifest()


def test_two_backups_at_once_are_refused(tmp_path: Path) -> None:
    with Folder(tmp_path).locked(), pytest.raises(BackupFailed, match="already"), Folder(tmp_path).locked():
        pass


@pytest.mark.parametrize(
    ("newest", "due"),
    [
        (None, True),
        (NOW - timedelta(days=1), True),
        (NOW - timedelta(minutes=1), True),
        (NOW, False),
        (NOW + timedelta(hours=1), False),
    ],
)
def test_a_backup_is_due_once_a_slot_has_come_since_the_newest(newest: datetime | None, due: bool) -> None:
    assert is_due(BackupSettings(at="15 2 * * *"), newest, NOW) is due
