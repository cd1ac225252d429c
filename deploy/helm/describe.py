"""Writes the chart's README from the comments in values.yaml:

python deploy/helm/describe.py > deploy/helm/tidemill/README.md
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

VALUES = Path(__file__).parent / "tidemill" / "values.yaml"
HEAD = """\
# The chart of Tidemill

Written by `python deploy/helm/describe.py` from the comments in `values.yaml`; a test holds it equal. How to install
it, and what it needs, is in [docs/operations/kubernetes.md](../../../docs/operations/kubernetes.md).

| value | default | meaning |
|---|---|---|
"""
INLINE_LETTERS = 60


def rows(node: yaml.MappingNode, lines: list[str], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Dotted path, default, meaning; of sections that say nothing, only what is in them."""
    for key, value in node.value:
        here = f"{path}.{key.value}" if path else str(key.value)
        meaning = comment_above(lines, key.start_mark.line)
        inner = isinstance(value, yaml.MappingNode) and value.value and not value.flow_style
        if inner:
            if meaning:
                yield here, "", meaning
            yield from rows(value, lines, here)
        else:
            yield here, shown(value), meaning


def comment_above(lines: list[str], line: int) -> str:
    block: list[str] = []
    for above in reversed(lines[:line]):
        said = above.strip()
        if not said.startswith("#"):
            break
        block.insert(0, said.removeprefix("#").strip())
        if block[0].startswith("--"):
            return " ".join(block).removeprefix("--").strip()
    return ""


def shown(node: yaml.Node) -> str:
    text = json.dumps(yaml.safe_load(yaml.serialize(node)), ensure_ascii=False)
    return f"`{text}`" if len(text) <= INLINE_LETTERS else "see `values.yaml`"


def page() -> str:
    text = VALUES.read_text(encoding="utf-8")
    node = yaml.compose(text)
    assert isinstance(node, yaml.MappingNode)
    found = rows(node, text.splitlines())
    table = [f"| `{path}` | {default} | {meaning.replace('|', '/')} |\n" for path, default, meaning in found]
    return HEAD + "".join(table)


if __name__ == "__main__":
    sys.stdout.write(page())
