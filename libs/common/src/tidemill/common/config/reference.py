"""The reference of all settings, for people (Markdown) and for editors (JSON Schema), from the models alone."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import WithDefaultSchema

from tidemill.common.config.content import ENVIRONMENT, FILE
from tidemill.common.config.load import PLAIN, PREFIX
from tidemill.common.config.sources import SourceFile
from tidemill.common.config.units import duration_text, size_text

Schema = Mapping[str, Any]

_FORMS = {
    "tidemill-duration": "length of time",
    "tidemill-size": "amount of bytes",
    "uri": "URL",
    "path": "path",
    "password": "secret",
}
SHORT = 6
"""Keys of a section that is repeated wherever it may stand; of longer ones only the first is written out."""
_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}

_INTRODUCTION = f"""\
# Configuration

Written by `tidemill config reference` from the models that check it; a test holds both equal.

A setting is looked up in four places, each over the one before it:

1. its default;
2. the file `{FILE}` in the working folder, which may be missing, and over it `tidemill.<environment>.yaml` where
   `{ENVIRONMENT}` names one; or the version of both that was applied ([how to change it](change-configuration.md));
3. the environment: `{PREFIX}` and the key in upper case, with `__` where the key has a dot
   (`{PREFIX}LOG__LEVEL=debug`). {", ".join(f"`{name}`" for name in PLAIN)} work without the prefix too. An empty
   variable counts as not set;
4. the command line: `--set log.level=debug`, as often as needed.

`tidemill config show` lists every setting with its value and where it comes from, passwords masked.
`tidemill config check` reads everything, starts nothing, and names all that is wrong with file, line and key.

**Forms.** A *length of time* has its unit: `500ms`, `2s`, `5m`, `1h`, `7d`. So has an *amount of bytes*: `512B`,
`64KB`, `512MB`, `2GB` (1000s), `1GiB` (1024s). Numbers are JSON's; only `true` and `false` are booleans; everything
else in YAML is text, so that `no`, `1:30` and `2025-07-18` need no quotes. A list or a mapping on the command line or
in the environment is written as in YAML: `["*.pdf"]`. Unknown keys are refused everywhere.

**Secrets** are named, not written: `${{env:NAME}}`, `${{file:/path}}`, `${{age:path}}`, in settings that are secrets or
addresses of servers.
"""

_SOURCES = """\
Each file `sources/<name>.yaml` is one source; `sources/<name>.<environment>.yaml` is laid over it. It holds these keys:
"""


def settings_schema(model: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema of `tidemill.yaml`; `model` is that of `settings_model`."""
    return _schema(model, "tidemill.yaml")


def source_schema() -> dict[str, Any]:
    """JSON Schema of a source file."""
    return _schema(SourceFile, "Source file of Tidemill")


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True, schema_generator=_WithWrittenDefaults)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}


class _WithWrittenDefaults(GenerateJsonSchema):
    """Defaults as one would write them: `2s`, `200MB`."""

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        found = super().default_schema(schema)
        forms = {branch.get("format") for branch in (found, *found.get("anyOf", ()))}
        default = schema.get("default")
        if "tidemill-duration" in forms and isinstance(default, timedelta):
            found["default"] = duration_text(default)
        elif "tidemill-size" in forms and isinstance(default, int):
            found["default"] = size_text(default)
        return found


def reference(model: type[BaseModel]) -> str:
    """The page about `tidemill.yaml` (`model` is that of `settings_model`) and about source files."""
    parts = [_INTRODUCTION, f"## {FILE}\n", *_sections(settings_schema(model), "", named=True)]
    parts += ["## Source files\n", _SOURCES, *_sections(source_schema(), "")]
    return "\n".join(parts)


def _sections(
    schema: Schema,
    key: str,
    definitions: Schema | None = None,
    written: dict[str, str] | None = None,
    *,
    named: bool = False,
) -> Iterator[str]:
    """A table of the settings at this level, then one for each section below it. `written`: which model stands where
    already; `named`: whether sections that an operator names are written out, too."""
    definitions = definitions if definitions is not None else schema.get("$defs", {})
    written = {} if written is None else written
    below: dict[str, Schema] = {}
    rows = []
    for name, entry in schema.get("properties", {}).items():
        here = f"{key}.{name}" if key else name
        section, is_list = section_of(entry, definitions)
        if section is None and named and (own := named_section_of(entry, definitions)) is not None:
            below[f"{here}.<name>"] = own
        if section is None:
            rows.append(
                f"| `{here}` | {_form(entry, definitions)} | {_default(entry, name, schema)} | {_text(entry)} |"
            )
            continue
        description = f"{section.get('description', '')} {entry.get('description', '')}"
        below[f"{here}[]" if is_list else here] = {**section, "description": description}
    if rows:
        yield "\n".join(("| key | form | default | |", "|---|---|---|---|", *rows, ""))
    for here, section in below.items():
        yield f"### `{here}`\n\n{_text(section)}\n"
        first = written.setdefault(section.get("title", here), here)
        if first != here and len(section["properties"]) > SHORT:
            yield f"The keys are those of `{first}`.\n"
        else:
            yield from _sections(section, here, definitions, written, named=named)


def _resolved(entry: Schema, definitions: Schema) -> Schema:
    return definitions[entry["$ref"].rpartition("/")[2]] if "$ref" in entry else entry


def section_of(entry: Schema, definitions: Schema) -> tuple[Schema | None, bool]:
    """The schema of the section that this key opens, if it does, and whether it is a list of such sections."""
    for branch in entry.get("anyOf", [entry]):
        inner = _resolved(branch.get("items", branch), definitions)
        if "properties" in inner:
            return inner, "items" in branch
    return None, False


def named_section_of(entry: Schema, definitions: Schema) -> Schema | None:
    """The schema of the sections that an operator names, where this key holds such; with the key's own description."""
    kinds = (entry.get("additionalProperties"), *entry.get("patternProperties", {}).values())
    for kind in kinds:
        section = _resolved(kind, definitions) if isinstance(kind, dict) else {}
        if "properties" in section:
            description = f"{entry.get('description', '')} {section.get('description', '')}"
            return {**section, "description": description}
    return None


def _form(entry: Schema, definitions: Schema) -> str:
    if "anyOf" in entry:
        return " or ".join(_form(branch, definitions) for branch in entry["anyOf"] if branch.get("type") != "null")
    entry = _resolved(entry, definitions)
    if "enum" in entry:
        return ", ".join(f"`{choice}`" for choice in entry["enum"])
    match entry.get("type"):
        case "array":
            return f"list of {_form(entry.get('items', {}), definitions)}"
        case "object":
            return "mapping"
    return _FORMS.get(entry.get("format", "")) or _TYPES.get(entry.get("type", ""), "any")


def _default(entry: Schema, name: str, schema: Schema) -> str:
    if name in schema.get("required", ()):
        return "required"
    value = entry.get("default")
    if value in (None, {}, []):
        return ""
    return f"`{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}`" if value != "" else ""


def _text(entry: Schema) -> str:
    return " ".join(entry.get("description", "").split()).replace("|", "\\|")
