"""Hooks of MkDocs: what the site has beside the pages, and pages as they are written for a checkout.

In a checkout a link may lead to a folder or to a file of the code; here it leads to a list of the folder's pages, or is
its path. Blocks lose the marks by which tests know them.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OF_THE_ROOT = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE")
LISTED = {"decisions": "Decisions", "runbooks": "Runbooks"}
FENCE = re.compile(r"^```(\w+) .*$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Folders of the navigation are unfolded."""
    config.nav = [_unfolded(entry) for entry in config.nav or []]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name in OF_THE_ROOT:
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, f"root/{name}", content=text))
    for folder, title in LISTED.items():
        lines = [f"- [{_title(page)}]({page.name})" for page in _pages(folder)]
        files.append(File.generated(config, f"{folder}/index.md", content="\n".join([f"# {title}\n", *lines])))
    files.append(File.generated(config, "cli.md", content="\n".join(command_line())))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    source: str = page.file.src_uri
    written_at = posixpath.basename(source) if source.startswith("root/") else f"docs/{source}"

    def link(match: re.Match[str]) -> str:
        text, target = match.groups()
        path, hash_, anchor = target.partition("#")
        meant = posixpath.normpath(posixpath.join(posixpath.dirname(written_at), path)) if path else written_at
        if meant in OF_THE_ROOT:
            meant = f"docs/root/{meant}"
        elif meant.removeprefix("docs/") in LISTED:
            meant += "/index.md"
        elif not meant.startswith("docs/"):
            return f"{text} (`{meant}`)" if (ROOT / meant).exists() else match[0]
        here = posixpath.dirname(f"docs/{source}")
        return f"[{text}]({posixpath.relpath(meant, here)}{hash_}{anchor})"

    return FENCE.sub(r"```\1", LINK.sub(link, markdown))


def command_line() -> Iterator[str]:
    """Every command with what it takes, from the program itself."""
    from typer.main import get_command

    from tidemill.cli.main import app

    yield "# Command line\n\nMade from the program; `tidemill COMMAND --help` says the same.\n"
    yield from _commands(get_command(app), ["tidemill"])


def _commands(command: Any, names: list[str]) -> Iterator[str]:
    context = click.Context(command, info_name=names[-1])
    if len(names) > 1:
        yield f"## {' '.join(names)}\n\n{command.help or ''}\n"
    if inner := getattr(command, "commands", {}):
        for name in sorted(inner):
            if not inner[name].hidden:
                yield from _commands(inner[name], [*names, name])
        return
    rows = [each.get_help_record(context) for each in command.get_params(context)]
    rows = [row for row in rows if row and "--help" not in row[0]]
    if rows:
        yield "| takes | |\n|---|---|"
        yield from (f"| `{_cell(name)}` | {_cell(text)} |" for name, text in rows)
        yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _unfolded(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    ((title, inner),) = entry.items()
    if isinstance(inner, list):
        return {title: [_unfolded(each) for each in inner]}
    folder = str(inner).rstrip("/")
    if folder in LISTED and inner != folder:
        return {title: [f"{folder}/index.md", *(f"{folder}/{page.name}" for page in _pages(folder))]}
    return entry


def _pages(folder: str) -> list[Path]:
    return sorted((ROOT / "docs" / folder).glob("*.md"))


def _title(page: Path) -> str:
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
