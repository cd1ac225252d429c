"""Each rule of an enricher is found broken where it is."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from tidemill.plugin import API_VERSION, References, Subject
from tidemill.plugin.enricher_conformance import assert_enriches, find_breaches
from tidemill.plugin.reference import AddressRow, read_addresses, read_buildings

NOW = datetime(2025, 6, 1, tzinfo=UTC)
SUBJECTS = [Subject({"size": size}, NOW) for size in (1, 2)]


class Twice(BaseModel):
    twice: int


class Doubling:
    name: ClassVar[str] = "doubling"
    version: ClassVar[str] = "1"
    api_version: ClassVar[int] = API_VERSION
    dataset: ClassVar[str] = "shop.box"
    model: ClassVar[type[BaseModel]] = Twice
    references: ClassVar[tuple[str, ...]] = ()

    def open(self, references: References) -> Any:
        return self

    def enrich(self, subjects: Sequence[Subject]) -> Sequence[Mapping[str, Any] | None]:
        return [{"twice": 2 * one.record["size"]} for one in subjects]

    def question(self, record: Any) -> str:
        return ""


class Nameless(Doubling):
    name: ClassVar[str] = "No Name"


class Demanding(Doubling):
    def open(self, references: References) -> Any:
        return references["addresses"]


class Forgetful(Doubling):
    def enrich(self, subjects: Sequence[Subject]) -> Sequence[Mapping[str, Any] | None]:
        return [{"twice": 1}]


class Wordy(Doubling):
    def enrich(self, subjects: Sequence[Subject]) -> Sequence[Mapping[str, Any] | None]:
        return [{"twice": "many"} for _ in subjects]


class Comparing(Doubling):
    def enrich(self, subjects: Sequence[Subject]) -> Sequence[Mapping[str, Any] | None]:
        return [{"twice": len(subjects)} for _ in subjects]


class Meddling(Doubling):
    def enrich(self, subjects: Sequence[Subject]) -> Sequence[Mapping[str, Any] | None]:
        for one in subjects:
            one.record["size"] += 1
        return super().enrich(subjects)


class Silent(Doubling):
    def question(self, record: Any) -> Any:
        return None


def test_one_that_does_all_right_conforms() -> None:
    assert_enriches(Doubling(), SUBJECTS, {})


@pytest.mark.parametrize(
    ("enricher", "rule"),
    [
        (Nameless, "identity"),
        (Demanding, "without"),
        (Forgetful, "answers"),
        (Wordy, "answers"),
        (Comparing, "same again"),
        (Meddling, "leaves alone"),
        (Silent, "question"),
    ],
)
def test_each_rule_is_found_broken(enricher: type[Doubling], rule: str) -> None:
    subjects = [Subject(dict(one.record), NOW) for one in SUBJECTS]
    assert find_breaches(enricher(), subjects, {})[0].startswith(f"{rule}: ")
    with pytest.raises(AssertionError, match=rule):
        assert_enriches(enricher(), subjects, {})


def test_reference_data_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "addresses.csv"
    path.write_text('id,street,number,postcode,city,latitude,longitude\n1,"A, B",2,,Vaduz,47.1,9.5\n')
    assert list(read_addresses(path)) == [AddressRow("1", "A, B", "2", "", "Vaduz", 47.1, 9.5)]
    with pytest.raises(ValueError, match=r"addresses.csv is no file of buildings"):
        list(read_buildings(path))
