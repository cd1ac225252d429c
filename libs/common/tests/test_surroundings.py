"""Where this is, and what follows from it."""

from pathlib import Path
from typing import Any

import pytest

from tidemill.common.config import CommonSettings
from tidemill.common.surroundings import (
    Kind,
    NoRedis,
    Surroundings,
    bind_host,
    choices,
    document_memory,
    log_format,
    redis_required,
    require_redis,
    shows_window,
    surroundings,
    workers,
)
from tidemill.common.surroundings.cpus import cpus

MACHINE = 16_000_000_000
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


def settings(**values: Any) -> CommonSettings:
    return CommonSettings.model_validate(values)


def here(root: Path, environ: dict[str, str] | None = None, **values: Any) -> Surroundings:
    return surroundings(settings(**values), environ or {}, root, MACHINE)


def limited(root: Path, *, cpu: str = "max 100000", memory: str = "max") -> Path:
    """A machine whose only control group has these limits."""
    process, group = root / "proc/self", root / "group"
    process.mkdir(parents=True)
    group.mkdir()
    (process / "cgroup").write_text("0::/\n")
    (process / "mountinfo").write_text(f"30 22 0:27 / {group} ro - cgroup2 cgroup rw\n")
    files = {"cpu.max": cpu, "memory.max": memory, "memory.current": "5", "memory.stat": "inactive_file 0"}
    for name, content in files.items():
        (group / name).write_text(f"{content}\n")
    return root


@pytest.mark.parametrize(
    ("mark", "environ", "kind", "why"),
    [
        (None, {}, Kind.MACHINE, "nothing tells of a container"),
        (".dockerenv", {}, Kind.CONTAINER, "/.dockerenv is there"),
        ("run/.containerenv", {}, Kind.CONTAINER, "/run/.containerenv is there"),
        (None, {"container": "lxc"}, Kind.CONTAINER, "the environment says container=lxc"),
        (".dockerenv", POD, Kind.KUBERNETES, "KUBERNETES_SERVICE_HOST is set"),
    ],
)
def test_it_is_known_by_what_each_leaves(
    tmp_path: Path, mark: str | None, environ: dict[str, str], kind: Kind, why: str
) -> None:
    if mark:
        (tmp_path / mark).parent.mkdir(exist_ok=True)
        (tmp_path / mark).touch()
    found = here(tmp_path, environ)
    assert (found.kind, found.why) == (kind, why)
    assert here(tmp_path, environ, runs_in="machine").kind is Kind.MACHINE
    assert here(tmp_path, environ, runs_in="kubernetes").why == "runs_in says so"


def test_on_one_machine_all_stays_at_home(tmp_path: Path) -> None:
    said = [choice.value for choice in choices(settings(), here(tmp_path))]
    assert said == ["auto logs", "health on 127.0.0.1", "Redis is not required"]


@pytest.mark.parametrize(("environ", "required"), [({"container": "podman"}, False), (POD, True)])
def test_in_containers_others_look_in_and_programs_read(
    tmp_path: Path, environ: dict[str, str], required: bool
) -> None:
    found = here(tmp_path, environ)
    assert log_format(settings(), found).value == "json"
    assert bind_host(settings(), found).value == "0.0.0.0"
    assert redis_required(settings(), found).value is required


def test_settings_come_before_what_was_found(tmp_path: Path) -> None:
    given = settings(log={"format": "console"}, health={"host": "127.0.0.1"}, redis_required=False)
    found = here(tmp_path, POD)
    assert [choice.value for choice in choices(given, found)] == [
        "console logs",
        "health on 127.0.0.1",
        "Redis is not required",
    ]
    assert all(choice.why.endswith("says so") for choice in choices(given, found))


def test_a_pod_without_redis_is_told_what_to_set(tmp_path: Path) -> None:
    found = here(tmp_path, POD)
    with pytest.raises(NoRedis, match=r"REDIS_URL is not set: set it, or redis_required: false"):
        require_redis(settings(), found)
    require_redis(settings(redis_url="redis://cache"), found)
    require_redis(settings(redis_required=False), found)


@pytest.mark.parametrize(
    ("cpu", "memory", "count", "why"),
    [
        ("400000 100000", "max", 4, "the control group / has 4 processors"),
        ("150000 100000", "max", 2, "the control group / has 2 processors"),
        ("400000 100000", "1500000000", 2, "1500MB in the control group / have room for so many, each with 512MB"),
        ("400000 100000", "300000000", 1, "300MB in the control group / have room for so many, each with 512MB"),
    ],
)
def test_workers_are_as_many_as_the_control_group_has_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpu: str, memory: str, count: int, why: str
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)))
    found = here(limited(tmp_path, cpu=cpu, memory=memory))
    assert (workers(0, found).value, workers(0, found).why) == (count, why)
    assert workers(7, found).value == 7


def test_a_document_gets_its_share_of_the_control_group(tmp_path: Path) -> None:
    found = here(limited(tmp_path, memory="1256000000"))
    assert document_memory(None, 2, found).value == 500_000_000
    assert document_memory(None, 40, found).value == 128_000_000
    assert document_memory(300_000_000, 2, found).value == 300_000_000


def test_quotas_of_the_first_version_of_control_groups_count_too(tmp_path: Path) -> None:
    group = tmp_path / "group"
    group.mkdir()
    (tmp_path / "cgroup").write_text("3:cpu,cpuacct:/docker/abc\n")
    (tmp_path / "mountinfo").write_text(f"32 22 0:29 /docker/abc {group} ro - cgroup cgroup rw,cpu,cpuacct\n")
    (group / "cpu.cfs_quota_us").write_text("300000\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    assert cpus(tmp_path, machine=8).count == 3
    (group / "cpu.cfs_quota_us").write_text("-1\n")
    assert cpus(tmp_path, machine=8).count == 8


def test_a_window_is_only_shown_where_somebody_can_look(tmp_path: Path) -> None:
    display = {"DISPLAY": ":0"}
    assert not shows_window(False, here(tmp_path, display)).value
    assert shows_window(True, here(tmp_path, display)).value
    assert not shows_window(True, here(tmp_path)).value
    assert not shows_window(True, here(tmp_path, {**display, "container": "docker"})).value
