"""The .proto files and the pydantic models say the same, and a release is never broken."""

import json
import sys
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import pytest
from google.protobuf import descriptor_pb2, json_format
from pydantic import BaseModel, ValidationError

sys.path.insert(0, str(Path(__file__).parents[1]))

import contracts as proto

from tidemill.common.events import EVENTS, Event, Int64

DESCRIPTORS = proto.compile_protos()
CONTRACTS = {contract.name: contract for contract in proto.contracts(DESCRIPTORS)}
MODELS = {model.__name__: model for model in EVENTS}
WRITTEN_BY_PEOPLE = {"Triggered"}


def each_event() -> Any:
    return pytest.mark.parametrize("name", sorted(MODELS))


def test_every_event_has_a_contract_and_every_contract_a_model() -> None:
    assert set(CONTRACTS) == set(MODELS)


@each_event()
def test_subject_and_stream_are_the_same_on_both_sides(name: str) -> None:
    assert (CONTRACTS[name].subject, CONTRACTS[name].stream) == (MODELS[name].subject, MODELS[name].stream)


@each_event()
def test_fields_have_the_same_names_and_types_on_both_sides(name: str) -> None:
    assert model_shape(MODELS[name]) == descriptor_shape(CONTRACTS[name].descriptor)


@each_event()
def test_an_example_survives_the_way_through_both_sides(name: str) -> None:
    example = proto.example(CONTRACTS[name])
    event = MODELS[name].model_validate(example)
    from_model = json_format.ParseDict(json.loads(event.to_json()), CONTRACTS[name].message())
    from_example = json_format.ParseDict(example, CONTRACTS[name].message())
    assert from_model == from_example
    back = json_format.MessageToJson(from_model)
    assert MODELS[name].model_validate_json(back) == event


@each_event()
def test_numbers_and_flags_that_proto3_leaves_out_read_as_zero(name: str) -> None:
    event = MODELS[name].model_validate(proto.example(CONTRACTS[name]))
    zeroed = event.model_copy(
        update={
            field.name: type(getattr(event, field.name))()
            for field in CONTRACTS[name].descriptor.fields
            if isinstance(getattr(event, field.name), (int, float, bytes))
        }
    )
    on_the_wire = json_format.MessageToJson(json_format.Parse(zeroed.to_json(), CONTRACTS[name].message()))
    assert MODELS[name].model_validate_json(on_the_wire) == zeroed


@each_event()
def test_the_example_fills_every_field(name: str) -> None:
    assert set(proto.example(CONTRACTS[name])) == {field.json_name for field in CONTRACTS[name].descriptor.fields}


@pytest.mark.parametrize("name", sorted(MODELS.keys() - WRITTEN_BY_PEOPLE))
def test_unknown_fields_of_a_newer_version_are_ignored(name: str) -> None:
    event = MODELS[name].model_validate({**proto.example(CONTRACTS[name]), "aFieldOfTomorrow": 1})
    assert event.subject_filled().startswith("tidemill.")


@pytest.mark.parametrize("name", sorted(WRITTEN_BY_PEOPLE))
def test_a_misspelt_name_in_what_people_write_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="parms"):
        MODELS[name].model_validate({**proto.example(CONTRACTS[name]), "parms": {}})


@pytest.mark.parametrize("released", sorted(proto.RELEASED.glob("*.binpb")), ids=lambda path: path.stem)
def test_nothing_breaks_a_released_contract(released: Path) -> None:
    old = descriptor_pb2.FileDescriptorSet.FromString(released.read_bytes())
    assert proto.breaking_changes(old, DESCRIPTORS) == []


def test_there_is_a_released_descriptor_to_hold_changes_against() -> None:
    assert list(proto.RELEASED.glob("*.binpb"))


def changed(edit: Any) -> list[str]:
    new = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.SerializeToString())
    message = next(message for file in new.file for message in file.message_type if message.name == "DocumentStored")
    edit(message)
    return proto.breaking_changes(DESCRIPTORS, new)


def test_a_renamed_field_is_a_breaking_change() -> None:
    assert changed(lambda message: setattr(message.field[3], "name", "bytes")) == [
        "tidemill.v1.DocumentStored.size_bytes (number 4) changed its name or type"
    ]


def test_another_type_is_a_breaking_change() -> None:
    assert len(changed(lambda message: setattr(message.field[3], "type", 5))) == 1


def test_a_removed_field_is_a_breaking_change_unless_its_number_is_reserved() -> None:
    def remove(message: descriptor_pb2.DescriptorProto) -> None:
        del message.field[4]

    def remove_and_reserve(message: descriptor_pb2.DescriptorProto) -> None:
        remove(message)
        message.reserved_range.add(start=5, end=6)

    assert changed(remove) == ["tidemill.v1.DocumentStored.name is gone and its number 5 is not reserved"]
    assert changed(remove_and_reserve) == []


def test_another_subject_is_a_breaking_change() -> None:
    def move(message: descriptor_pb2.DescriptorProto) -> None:
        message.options.CopyFrom(
            descriptor_pb2.MessageOptions.FromString(
                message.options.SerializeToString().replace(b"tidemill.document.stored", b"tidemill.document.storeD")
            )
        )

    assert changed(move) == ["tidemill.v1.DocumentStored moved to another subject or stream"]


def test_a_removed_message_is_a_breaking_change_and_a_new_field_is_not() -> None:
    assert "tidemill.v1.DocumentStored is gone" in changed(lambda message: setattr(message, "name", "Other"))
    assert changed(lambda message: message.field.add(name="added", number=99, type=9, label=1)) == []


@pytest.mark.parametrize("path", [proto.EVENTS_PAGE, proto.ASYNCAPI], ids=lambda path: path.name)
def test_generated_pages_are_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == proto.generated()[path], "run: python proto-schemas/contracts.py"


def model_shape(model: type[BaseModel]) -> dict[str, Any]:
    return {
        field.alias or name: annotation_shape(_full_annotation(field)) for name, field in model.model_fields.items()
    }


def _full_annotation(field: Any) -> Any:
    return Int64 if any(type(item).__name__ == "PlainSerializer" for item in field.metadata) else field.annotation


def annotation_shape(annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (tuple, list):
        return [annotation_shape(arguments[0])]
    if origin is dict:
        return {"*": annotation_shape(arguments[1])}
    if origin is UnionType:
        return annotation_shape(next(argument for argument in arguments if argument is not NoneType))
    return scalar_shape(annotation)


def scalar_shape(annotation: Any) -> Any:
    if annotation == Int64:
        return "int64"
    if hasattr(annotation, "__metadata__"):
        return {"Base64Encoder": "bytes"}.get(annotation.__metadata__[0].encoder.__name__, "?")
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return model_shape(annotation)
    named = {str: "string", int: "int32", float: "double", bool: "bool", bytes: "bytes"}
    return named.get(annotation) or {"AwareDatetime": "timestamp", "datetime": "timestamp"}[annotation.__name__]


def descriptor_shape(descriptor: Any) -> dict[str, Any]:
    return {field.json_name: field_shape(field) for field in descriptor.fields}


def field_shape(field: Any) -> Any:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return {"*": field_shape(message.fields_by_name["value"])}
    if message is None:
        single: Any = {1: "double", 3: "int64", 5: "int32", 8: "bool", 9: "string", 12: "bytes"}[field.type]
    else:
        single = "timestamp" if message.name == "Timestamp" else descriptor_shape(message)
    return [single] if field.is_repeated else single


def test_an_event_fills_its_subject_from_its_own_fields() -> None:
    event: Event = MODELS["DocumentStored"].model_validate(proto.example(CONTRACTS["DocumentStored"]))
    assert event.subject_filled() == "tidemill.document.stored.lo.szerencsemix"


def test_a_contract_names_at_least_one_producer() -> None:
    assert [name for name, contract in CONTRACTS.items() if not contract.producers] == []


def test_every_contract_is_commented() -> None:
    assert [name for name, contract in CONTRACTS.items() if not contract.comment] == []
