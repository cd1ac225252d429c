"""`tidemill up`, as a process of its own, through everything that can happen to it."""

import json
import shlex
import signal
from contextlib import suppress

import pytest

from tidemill.common.servers import PostgresServer

pytestmark = [pytest.mark.servers, pytest.mark.slow]


def test_it_starts_everything_says_where_it_is_and_ends_cleanly(place, eventually) -> None:
    up = place.up()
    assert "mill" in up.output
    assert up.addresses["nats_url"] in up.output
    assert "psql" in up.output
    assert f"{up.addresses['health_url']}/readyz" in up.output
    assert {process.name() for process in place.servers()} == {"nats-server", "postgres"}
    assert up.health("livez")[0] == 200
    assert up.end(signal.SIGINT) == 0
    assert "Stopped." in up.output
    assert place.servers() == []
    assert not (place.folder / "data/run/servers.json").exists()


def test_sigterm_and_a_closed_terminal_are_as_clean_as_ctrl_c_and_ports_are_remembered(place) -> None:
    addresses = []
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # Under `nohup` it would be ignored, by what we start too.
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            up = place.up()
            addresses.append(up.addresses)
            assert up.end(number) == 0
            assert place.servers() == []
    finally:
        signal.signal(signal.SIGHUP, before)
    assert addresses[0] == addresses[1]


@pytest.mark.long
def test_a_second_ctrl_c_ends_it_at_once_and_leaves_nothing(place, eventually) -> None:
    up = place.up()
    up.process.send_signal(signal.SIGINT)
    assert up.end(signal.SIGINT) in (0, 130)
    eventually(lambda: not place.servers())
    assert place.up().end() == 0


def test_a_second_start_in_the_same_folder_is_refused_and_names_the_first(place) -> None:
    up = place.up()
    status, output = place.here("up", "--service", "mill")
    assert status == 1
    assert str(up.process.pid) in output
    assert str(place.folder / "data") in output
    assert up.ready()


@pytest.mark.chaos
@pytest.mark.parametrize("name", ["nats-server", "postgres"])
def test_a_killed_server_is_started_again_as_often_as_it_takes(place, eventually, name: str) -> None:
    up = place.up()
    up.child(name).kill()
    up.wait_for(f"{name} had ended; it runs again")
    assert up.health("livez")[0] == 200
    eventually(up.ready)
    first = up.child(name).pid
    up.child(name).kill()
    eventually(lambda: up.child(name).pid != first)
    eventually(up.ready)
    assert up.end() == 0


@pytest.mark.chaos
def test_a_server_that_hangs_makes_it_unready_within_five_seconds_but_not_dead(place, eventually) -> None:
    up = place.up()
    for name, check in (("postgres", "postgres"), ("nats-server", "nats")):
        server = up.child(name)
        family = [server, *server.children(recursive=True)]
        for process in family:
            process.suspend()
        try:
            eventually(lambda: not up.ready(), within=10)  # Busy machines are late.
            eventually(lambda check=check: check in json.dumps(up.health()[1]))
            assert up.health("livez")[0] == 200
        finally:
            for process in family:
                process.resume()
        eventually(up.ready)


@pytest.mark.chaos
def test_nothing_remains_of_it_after_kill_9_and_the_next_start_repairs_what_it_left(place, eventually) -> None:
    up = place.up()
    up.process.send_signal(signal.SIGKILL)
    up.process.wait()
    eventually(lambda: not place.servers())
    again = place.up()
    assert again.ready()
    assert again.end() == 0


@pytest.mark.chaos
def test_postgres_killed_together_with_it_is_no_matter_for_the_next_start(place) -> None:
    up = place.up()
    postgres = up.child("postgres")
    up.process.send_signal(signal.SIGSTOP)  # It shall not start Postgres again.
    postgres.kill()
    up.process.send_signal(signal.SIGKILL)
    up.process.wait()
    assert place.up().ready()


def test_a_check_of_a_service_shows_in_its_readiness(place, eventually) -> None:
    broken = place.folder / "broken"
    up = place.up("--set", f"mill.broken={broken}")
    broken.touch()
    eventually(lambda: not up.ready())
    assert up.health()[1]["services"]["mill"]["wrong"] == {"stones": "the stones are worn"}
    broken.unlink()
    eventually(up.ready)


def test_servers_that_are_configured_are_used_and_not_started(place, nats_url: str, database_url: str) -> None:
    place.environment |= {"NATS_URL": nats_url, "DATABASE_URL": database_url}
    up = place.up()
    assert place.servers() == []
    assert up.addresses["nats_url"] == nats_url
    assert up.end() == 0


def test_a_configured_postgres_that_is_not_there_yet_is_waited_for(place, open_folder, nats_url: str) -> None:
    with PostgresServer(open_folder / "elsewhere") as elsewhere:
        url = elsewhere.url
    place.environment |= {"NATS_URL": nats_url, "DATABASE_URL": url}
    up = place.begin_up("--service", "mill")
    up.wait_for("Waiting for Postgres", within=30)
    with elsewhere:
        up.wait_for("Ctrl-C ends it", within=30)
        assert up.end() == 0


def test_a_service_that_cannot_work_yet_is_told_after_a_while(place) -> None:
    broken = place.folder / "broken"
    broken.touch()
    place.has_been_used()
    up = place.begin_up("--service", "mill", "--set", f"mill.broken={broken}")
    up.wait_for("Still waiting: mill: stones: the stones are worn", within=40)
    broken.unlink()
    up.wait_for("Ctrl-C ends it")


def test_a_converter_that_cannot_be_used_is_told_at_the_start_and_stays_visible(place) -> None:
    (place.folder / "sources").mkdir()
    (place.folder / "sources/paper.yaml").write_text("source: paper\nconvert: {with: papyrus}\n")
    up = place.begin_up("--service", "converter")
    up.wait_for("! paper.yaml: converter 'papyrus' is not installed", within=40)
    up.wait_for("NOT READY converter: sources: paper.yaml")
    assert "sources" in up.health()[1]["services"]["converter"]["wrong"]
    assert up.end() == 0


def test_the_demo_converts_the_sample_once_and_says_how_to_look_at_it(place) -> None:
    for said in ("is converted. Look", "is converted since 20"):
        up = place.begin_up("--demo")
        up.wait_for(f"sample.pdf {said}", within=60)
        up.wait_for("tidemill records football.match")
        documents = json.loads(place.here("documents", "-o", "json")[1])
        assert [each["outcome"] for each in documents if each["name"] == "sample.pdf"] == ["converted"]
        code, output = place.here("records", "football.match", "-o", "json")
        assert code == 0
        assert "Turku" in output
        assert up.end() == 0
    assert (place.folder / "sources/szerencsemix.yaml").is_file()


@pytest.mark.long
def test_with_a_chosen_data_folder_the_printed_commands_name_it(place) -> None:
    up = place.begin_up("--demo", "--data", "else where")
    up.wait_for("is converted. Look at it", within=60)
    up.wait_for("--help")
    (line,) = [line for line in up.output.splitlines() if "records football.match" in line]
    code, output = place.here(*shlex.split(line)[1:], "-o", "json")
    assert (code, "Turku" in output) == (0, True)
    assert up.end() == 0


def test_a_wrong_setting_is_told_before_anything_starts(place) -> None:
    status, output = place.here("up", "--service", "mill", "--set", "log.level=loud")
    assert status == 1
    assert "log.level" in output
    assert "Traceback" not in output
    (place.folder / "file").touch()
    status, output = place.here("up", "--service", "mill", "--data", "file/data")
    assert status == 1
    assert "Traceback" not in output
    status, output = place.here("up", "--service", "no-such")
    assert status == 1
    assert "no-such" in output
    assert "mill" in output


def test_a_disk_too_small_for_a_new_data_folder_is_refused_with_the_remedy(place, small_disk) -> None:
    small_disk("30m")
    status, output = place.run("up", "--service", "mill")
    assert status == 1
    assert "a new data folder needs 200 MB" in output
    assert "up --data DIR" in output


@pytest.mark.chaos
def test_a_small_disk_is_enough_and_after_it_was_full_all_goes_on_by_itself(place, small_disk, eventually) -> None:
    small_disk("300m")
    up = place.up()
    assert "! Only" in up.output
    assert up.ready()
    filler = place.folder / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while file.write(bytes(1 << 20)):
            pass
    up.wait_for("The disk is full")
    eventually(lambda: not up.ready())
    nats = up.child("nats-server").pid
    filler.unlink()
    up.wait_for("There is room on the disk again")
    up.wait_for("nats-server had ended; it runs again")
    assert up.child("nats-server").pid != nats
    eventually(up.ready)
    assert "Traceback" not in up.output
    assert up.end() == 0
