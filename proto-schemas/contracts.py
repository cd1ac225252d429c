"""Reads the event contracts and writes what is generated from them: `python proto-schemas/contracts.py`."""

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from grpc_tools import protoc

HERE = Path(__file__).parent
ROOT = HERE.parent
EXAMPLES = HERE / "examples"
RELEASED = HERE / "released"
EVENTS_PAGE = ROOT / "docs" / "events.md"
ASYNCAPI = ROOT / "docs" / "asyncapi.json"

_JSON_TYPES = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
}


@dataclass(frozen=True)
class Contract:
    """One event as the .proto file states it."""

    descriptor: Descriptor
    message: type[Message]
    subject: str
    stream: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    comment: str
    field_comments: dict[str, str]

    @property
    def name(self) -> str:
        return str(self.descriptor.name)


def compile_protos() -> descriptor_pb2.FileDescriptorSet:
    """The descriptor set of all contracts, with comments."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "all.binpb"
        well_known = str(files("grpc_tools") / "_proto")
        sources = sorted(str(path.relative_to(HERE)) for path in (HERE / "tidemill").rglob("*.proto"))
        arguments = [
            "protoc",
            f"-I{HERE}",
            f"-I{well_known}",
            "--include_imports",
            "--include_source_info",
            f"--descriptor_set_out={target}",
            *sources,
        ]
        if protoc.main(arguments) != 0:
            raise SystemExit("the .proto files do not compile; protoc has said why above")
        return descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())


def contracts(descriptors: descriptor_pb2.FileDescriptorSet) -> list[Contract]:
    """Every message that carries the `event` option, in the order of the files."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptors.file:
        pool.Add(file)
    options_class = message_factory.GetMessageClass(pool.FindMessageTypeByName("google.protobuf.MessageOptions"))
    extension = pool.FindExtensionByName("tidemill.v1.event")
    message_factory.GetMessageClassesForFiles([file.name for file in descriptors.file], pool)
    found = []
    for file in descriptors.file:
        comments = _comments(file)
        for index, message in enumerate(file.message_type):
            options = options_class.FromString(message.options.SerializeToString())
            if not options.HasExtension(extension):
                continue
            event = options.Extensions[extension]
            descriptor = pool.FindMessageTypeByName(f"{file.package}.{message.name}")
            found.append(
                Contract(
                    descriptor=descriptor,
                    message=message_factory.GetMessageClass(descriptor),
                    subject=event.subject,
                    stream=event.stream,
                    producers=tuple(event.producers),
                    consumers=tuple(event.consumers),
                    comment=comments.get((4, index), ""),
                    field_comments={
                        field.name: comments.get((4, index, 2, number), "")
                        for number, field in enumerate(message.field)
                    },
                )
            )
    return found


def _comments(file: descriptor_pb2.FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {
        tuple(location.path): " ".join(location.leading_comments.split())
        for location in file.source_code_info.location
        if location.leading_comments
    }


def breaking_changes(old: descriptor_pb2.FileDescriptorSet, new: descriptor_pb2.FileDescriptorSet) -> list[str]:
    """What a reader of the old contracts would no longer understand, one sentence each."""
    old_messages, new_messages = dict(_messages(old)), dict(_messages(new))
    problems = []
    for name, before in old_messages.items():
        after = new_messages.get(name)
        if after is None:
            problems.append(f"{name} is gone")
            continue
        if before.options.SerializeToString() != after.options.SerializeToString():
            problems += _option_changes(name, old, new)
        fields = {field.number: field for field in after.field}
        for field in before.field:
            now = fields.get(field.number)
            if now is None:
                if not any(reserved.start <= field.number < reserved.end for reserved in after.reserved_range):
                    problems.append(f"{name}.{field.name} is gone and its number {field.number} is not reserved")
            elif (now.name, now.type, now.type_name, now.label) != (
                field.name,
                field.type,
                field.type_name,
                field.label,
            ):
                problems.append(f"{name}.{field.name} (number {field.number}) changed its name or type")
    return problems


def _option_changes(
    name: str, old: descriptor_pb2.FileDescriptorSet, new: descriptor_pb2.FileDescriptorSet
) -> list[str]:
    before = next((contract for contract in contracts(old) if contract.descriptor.full_name == name), None)
    after = next((contract for contract in contracts(new) if contract.descriptor.full_name == name), None)
    if before and after and (before.subject, before.stream) == (after.subject, after.stream):
        return []
    return [f"{name} moved to another subject or stream"]


def _messages(
    descriptors: descriptor_pb2.FileDescriptorSet,
) -> Iterator[tuple[str, descriptor_pb2.DescriptorProto]]:
    for file in descriptors.file:
        if file.package.startswith("tidemill"):
            for message in file.message_type:
                yield from _nested(f"{file.package}.{message.name}", message)


def _nested(name: str, message: descriptor_pb2.DescriptorProto) -> Iterator[tuple[str, descriptor_pb2.DescriptorProto]]:
    yield name, message
    for inner in message.nested_type:
        yield from _nested(f"{name}.{inner.name}", inner)


def json_schema(field: FieldDescriptor) -> dict[str, Any]:
    """JSON Schema of a field in the proto3 JSON mapping."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": json_schema(field.message_type.fields_by_name["value"])}
    if field.message_type is None:
        single = dict(_JSON_TYPES[field.type])
    elif field.message_type.full_name == "google.protobuf.Timestamp":
        single = {"type": "string", "format": "date-time"}
    else:
        single = message_schema(field.message_type)
    return {"type": "array", "items": single} if field.is_repeated else single


def message_schema(descriptor: Descriptor) -> dict[str, Any]:
    return {"type": "object", "properties": {field.json_name: json_schema(field) for field in descriptor.fields}}


def example(contract: Contract) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EXAMPLES / f"{contract.name}.json").read_text())
    return loaded


def asyncapi(all_contracts: list[Contract]) -> dict[str, Any]:
    """The AsyncAPI 3.0 document: a channel per subject, an operation per producer and consumer."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for contract in all_contracts:
        parameters = {part[1:-1]: {} for part in contract.subject.split(".") if part.startswith("{")}
        channel = {
            "address": contract.subject,
            "description": f"Stream {contract.stream}.",
            "messages": {contract.name: {"$ref": f"#/components/messages/{contract.name}"}},
        }
        channels[contract.name] = channel | ({"parameters": parameters} if parameters else {})
        for role, action in (("producers", "send"), ("consumers", "receive")):
            for service in getattr(contract, role):
                operations[f"{'every-service' if service == '*' else service}.{action}.{contract.name}"] = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{contract.name}"},
                }
        messages[contract.name] = {
            "summary": contract.comment,
            "contentType": "application/json",
            "headers": {
                "type": "object",
                "properties": {name: {"type": "string", "description": text} for name, text in HEADERS.items()},
            },
            "payload": message_schema(contract.descriptor),
            "examples": [{"payload": example(contract)}],
        }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Tidemill events", "version": "1.0.0", "license": {"name": "Apache-2.0"}},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


HEADERS = {
    "Nats-Msg-Id": "Identity of the event; JetStream drops a repeat within its window.",
    "Tidemill-Id": "The same again; it survives sourcing and dead letters. The inbox knows it.",
    "traceparent": "W3C trace context of the work that stated it.",
    "Tidemill-Run": "The run it belongs to.",
    "Tidemill-Attempt": "1 for the first attempt.",
    "Tidemill-Schema": "Version of the contract: 1.",
}


def events_page(all_contracts: list[Contract]) -> str:
    """`docs/events.md`."""
    lines = [
        "# Events",
        "",
        "Written by `python proto-schemas/contracts.py` from `proto-schemas/tidemill/v1/*.proto`; do not edit.",
        "",
        "Every event is a fact on NATS JetStream. The payload is JSON by the proto3 mapping (lowerCamelCase names,",
        "64-bit integers as strings, times in RFC 3339); unknown fields are ignored.",
        "The same as AsyncAPI: [asyncapi.json](asyncapi.json).",
        "",
        "| header | meaning |",
        "|---|---|",
        *(f"| `{name}` | {text} |" for name, text in HEADERS.items()),
        "",
        "| event | subject | stream | stated by | acted on by |",
        "|---|---|---|---|---|",
    ]
    for contract in all_contracts:
        producers = ", ".join("every service" if name == "*" else name for name in contract.producers)
        consumers = ", ".join(contract.consumers) or "(whoever listens)"
        lines.append(
            f"| [{contract.name}](#{contract.name.lower()}) | `{contract.subject}` | {contract.stream} "
            f"| {producers} | {consumers} |"
        )
    for contract in all_contracts:
        lines += ["", f"## {contract.name}", "", contract.comment, "", "| field | type | meaning |", "|---|---|---|"]
        for field in contract.descriptor.fields:
            lines.append(
                f"| `{field.json_name}` | {_type_name(field)} | {contract.field_comments.get(field.name, '')} |"
            )
        payload = json.dumps(example(contract), ensure_ascii=False, indent=2)
        lines += ["", "```json", payload, "```"]
    return "\n".join(lines) + "\n"


def _type_name(field: FieldDescriptor) -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return f"map of {_type_name(field.message_type.fields_by_name['value'])}"
    if field.message_type is not None:
        single = "timestamp" if field.message_type.name == "Timestamp" else str(field.message_type.name)
    else:
        schema = _JSON_TYPES[field.type]
        single = schema.get("format") or ("bytes" if "contentEncoding" in schema else schema["type"])
    return f"list of {single}" if field.is_repeated else single


def generated() -> dict[Path, str]:
    """Every generated file with its text."""
    found = contracts(compile_protos())
    return {
        EVENTS_PAGE: events_page(found),
        ASYNCAPI: json.dumps(asyncapi(found), ensure_ascii=False, indent=1) + "\n",
    }


def release(version: str) -> Path:
    """Freeze the contracts of a release: later changes are held against this descriptor."""
    descriptors = compile_protos()
    for file in descriptors.file:
        file.ClearField("source_code_info")
    target = RELEASED / f"{version}.binpb"
    target.write_bytes(descriptors.SerializeToString())
    return target


def main() -> None:
    if sys.argv[1:2] == ["release"]:
        print(release(sys.argv[2]))
        return
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
