"""compose.yaml as Compose reads it: anchors merged, variables replaced by their defaults or by an env file."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "compose"
DOCKERFILE = FOLDER.parent / "docker" / "Dockerfile"
SERVERS = ("postgres", "redis", "nats", "nats-1", "nats-2", "nats-3")
_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}")


def env_file(name: str) -> dict[str, str]:
    lines = (FOLDER / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def replaced(text: str, values: Mapping[str, str]) -> str:
    """`$$` is a `$`; a variable without value and default is an error, as nothing here should be left to chance."""

    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        given = values.get(match["name"]) or match["default"]
        if given is None:
            raise KeyError(match["name"])
        return given

    return _VARIABLE.sub(one, text)


def load(name: str = "compose.yaml", **values: str) -> dict[str, Any]:
    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return replaced(value, values)
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        return [walk(item) for item in value] if isinstance(value, list) else value

    return dict(walk(yaml.safe_load((FOLDER / name).read_text().replace("!override", ""))))


def variables() -> dict[str, set[str]]:
    """Every variable that a file asks for, with its defaults."""
    found: dict[str, set[str]] = {}
    for file in ("compose.yaml", "compose.logs.yaml", "compose.browser.yaml"):
        for match in _VARIABLE.finditer((FOLDER / file).read_text()):
            if match["name"]:
                found.setdefault(match["name"], set()).add(match["default"] or "")
    return found


def image_environment() -> dict[str, str]:
    """What the Dockerfile sets for every service."""
    (block,) = re.findall(r"^ENV (PATH=(?:.*\\\n)*.*)$", DOCKERFILE.read_text(), re.MULTILINE)
    return dict(pair.split("=", 1) for pair in block.replace("\\\n", " ").split())


def image_commands() -> dict[str, list[str]]:
    """Target of the Dockerfile to what it runs."""
    found = re.findall(r"^FROM \S+ AS ([\w-]+)\n(?:(?!FROM ).*\n)*?CMD (\[.*\])", DOCKERFILE.read_text(), re.MULTILINE)
    return {target: json.loads(command) for target, command in found}
