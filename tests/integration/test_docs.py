"""What the documentation says to type is typed, and says what it is shown to say.

A block that starts with ```console runnable is run in a copy of `sources/` and `examples/`; with `servers` behind it
while `tidemill up` runs there. Lines after a command are what it prints: each must come, in this order; `…` stands for
anything. A block that starts with ```yaml written and a path is written there first.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tidemill.common.testing import new_environment
from tidemill.common.testing.cluster import begin_used

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
GUIDE = ROOT / "docs" / "add-a-converter.md"
MEASURED = ("geodata", "retention", "reconvert", "scrape-a-site")
"""Pages whose commands nothing else runs."""
BUNDLED = ("oikotie", "szerencsemix")
LONG = (
    "back-up",
    "change-configuration",
    "download-files",
    "game-day",
    "governance",
    "migrate-from-cron",
    "operate",
    "quality",
    "read-records",
    "runs",
    "send-reports",
    "tutorial",
)
"""Pages that take half a minute each, and whose commands other tests run, too."""
BLOCK = re.compile(r"^```(?:console runnable( servers)?|yaml written (\S+))\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WRITTEN = re.compile(
    r"^([^`\n][^\n]*(?:\n[^\n]+)*)\n\n```(?:toml|python|yaml|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")
TEST = re.compile(r"(test_\w+\.py)::(test_\w+)")
COMMAND_SECONDS = 60
PATIENCE_SECONDS = 30


@dataclass
class Step:
    command: str
    servers: bool
    shown: list[str] = field(default_factory=list)


def steps(page: Path) -> list[Step]:
    found: list[Step] = []
    for servers, path, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if path:
            found.append(Step(f"cat > {path} <<'END'\n{block}END", servers=False))
            continue
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Step(line.removeprefix("$ "), bool(servers)))
            elif line.startswith("> "):
                found[-1].command += f"\n{line.removeprefix('> ')}"
            elif line.strip():
                found[-1].shown.append(line)
    return found


def missing(shown: list[str], output: str) -> str | None:
    """The first line of `shown` that does not come after the one before it."""
    lines: Iterator[str] = iter(output.splitlines())
    for wanted in shown:
        pattern = re.compile(r"\s*" + re.escape(wanted.strip()).replace("…", ".*").replace(r"\ ", r"\s+") + r"\s*")
        if not any(pattern.fullmatch(line) for line in lines):
            return wanted
    return None


def marks(page: Path) -> list[pytest.MarkDecorator]:
    groups = {"measured": MEASURED, "long": LONG}
    found = [getattr(pytest.mark, name) for name, pages in groups.items() if page.stem in pages]
    return [*found, pytest.mark.timeout(600)] if page.stem in LONG else found


@pytest.fixture
def project() -> Iterator[Path]:
    # Not below pytest's own folder: another session closes that to the user under whom Postgres runs.
    with TemporaryDirectory(prefix="tidemill-docs-") as folder:
        shutil.copytree(ROOT / "examples", Path(folder) / "examples")
        (Path(folder) / "sources").mkdir()
        for name in BUNDLED:  # Not what `make run`, or a reader, wrote beside them.
            shutil.copy(ROOT / "sources" / f"{name}.yaml", Path(folder) / "sources")
        yield Path(folder)


def environment() -> dict[str, str]:
    """Ours, without settings of Tidemill, and with the commands of this installation first."""
    kept = new_environment()
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}", "COLUMNS": "200"}


def written_files(page: Path) -> dict[str, str]:
    """The files a guide has its reader write: the last path named in the paragraph before a block."""
    found = {}
    for paragraph, content in WRITTEN.findall(page.read_text(encoding="utf-8")):
        paths = [path for path in re.findall(r"`([\w./-]+)`", paragraph) if re.search(r"\.\w+$", path)]
        if paths:
            found[paths[-1]] = content
    return found


def install(package: Path, target: Path) -> None:
    """What an editable install leaves: the entry points, and where the modules are."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = target / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [line for group, points in groups for line in (f"[{group}]", *(f"{n} = {v}" for n, v in points.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines))


def follow(page: Path, project: Path, **more: str) -> None:
    settings = {**environment(), **more}
    with ExitStack() as stack:
        running = False
        for step in steps(page):
            if step.servers and not running:
                stack.enter_context(up(project, settings))
                running = True
            run(step, project, settings)


def run(step: Step, project: Path, settings: dict[str, str]) -> None:
    """What waits for services is asked again until it prints what it should."""
    deadline = time.monotonic() + (PATIENCE_SECONDS if step.servers and step.shown else 0)
    while True:
        done = subprocess.run(
            ["bash", "-c", step.command],
            cwd=project,
            env=settings,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        output = done.stdout + done.stderr
        absent = missing(step.shown, output)
        if absent is None:
            return
        assert time.monotonic() < deadline, f"$ {step.command}\ndoes not print: {absent}\nbut:\n{output}"
        time.sleep(0.5)


@contextmanager
def up(project: Path, settings: dict[str, str]) -> Iterator[None]:
    told = project / "up.txt"
    if not (used := project / "data" / "postgres").exists():
        begin_used(used)
    with told.open("w") as output:
        process = subprocess.Popen(["tidemill", "up"], cwd=project, env=settings, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + COMMAND_SECONDS
            while "Tidemill is ready" not in told.read_text(encoding="utf-8"):
                assert process.poll() is None, told.read_text(encoding="utf-8")
                assert time.monotonic() < deadline, told.read_text(encoding="utf-8")
                time.sleep(0.1)
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(COMMAND_SECONDS)


@pytest.mark.slow
def test_the_guide_to_a_converter_leads_to_one_that_works(project: Path) -> None:
    for path, content in written_files(GUIDE).items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(content, encoding="utf-8")
    installed = project / "installed"
    install(project / "tide-tables", installed)
    modules = os.pathsep.join(map(str, (installed, project / "tide-tables" / "src")))
    follow(GUIDE, project, PYTHONPATH=modules)


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=marks(page)) for page in PAGES if steps(page) and page != GUIDE],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_commands_of_the_documentation_print_what_it_shows(page: Path, project: Path) -> None:
    follow(page, project)


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_tests_that_pages_name_exist() -> None:
    there: dict[str, str] = {}
    for folder in ("libs", "services", "tests", "proto-schemas"):
        for path in ROOT.glob(f"{folder}/**/test_*.py"):
            there[path.name] = there.get(path.name, "") + path.read_text(encoding="utf-8")
    named = {name for page in PAGES for name in TEST.findall(page.read_text(encoding="utf-8"))}
    assert named
    assert [f"{file}::{test}" for file, test in sorted(named) if f"def {test}(" not in there.get(file, "")] == []


def test_every_page_can_be_reached_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    reached, waiting = {index}, [index]
    while waiting:
        page = waiting.pop()
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            found = (page.parent / target).resolve()
            pages = found.glob("*.md") if found.is_dir() else [found]
            for one in pages:
                if one.suffix == ".md" and one not in reached and one.exists():
                    reached.add(one)
                    waiting.append(one)
    assert {str(page.relative_to(ROOT)) for page in ROOT.glob("docs/**/*.md")} <= {
        str(page.relative_to(ROOT)) for page in reached
    }


@pytest.mark.slow
@pytest.mark.unmeasured
def test_the_site_is_built_and_only_the_link_that_was_planted_leads_nowhere(tmp_path: Path) -> None:
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("examples", "libs", "sources", "deploy", "tests"):  # Files that pages name.
        (tmp_path / name).symlink_to(ROOT / name)
    with (tmp_path / "docs" / "runs.md").open("a") as page:
        page.write("\n[planted](nowhere.md) [too](operate.md#nowhere)\n")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert done.returncode != 0
    assert len(warnings) == 2, done.stderr
    assert "nowhere.md" in warnings[0] + warnings[1]
    assert "#nowhere" in warnings[0] + warnings[1]
    for page in (ROOT / "docs").rglob("*.md"):  # A block whose mark is not known swallows what follows it.
        outside = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        shown = (tmp_path / "site" / page.relative_to(ROOT / "docs")).with_suffix(".html").read_text()
        assert shown.count("<h2 id=") == len(re.findall("^## ", outside, re.MULTILINE)), page
