"""A converter is judged by what it says, not by the fate of the worker that was asked."""

from collections.abc import Mapping
from typing import Any

import pytest

from tidemill.common.config.sources import Convert, SourceFile, Sources
from tidemill.converter.errors import UnusableConverter
from tidemill.converter.routes import Route, complaint, find_routes, get_route
from tidemill.converter.workers import ConverterUnusable, Description, WorkerLost

SOURCES = Sources({"paper": SourceFile(source="paper", convert=Convert.model_validate({"with": "lines"}))}, {})


class Answers:
    """Workers that answer one after the other: a description, or an error."""

    def __init__(self, *answers: Description | Exception) -> None:
        self._answers = list(answers)

    async def describe(self, _reference: str, _options: Mapping[str, Any]) -> Description:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def routes(*answers: Description | Exception, most: int = 10**9) -> Any:
    return await find_routes(SOURCES, {"lines": "misbehaving:Lines"}, Answers(*answers), 1000, most)  # type: ignore[arg-type]


async def test_a_killed_worker_does_not_speak_against_the_converter() -> None:
    found = await routes(WorkerLost("killed"), WorkerLost("killed"), Description("lines", "1", ("test.line",)))
    assert isinstance(get_route(found, "paper"), Route)


async def test_workers_that_are_killed_again_and_again_are_no_poison_for_documents() -> None:
    with pytest.raises(WorkerLost):
        await routes(*[WorkerLost("killed")] * 3)


async def test_a_converter_that_cannot_be_used_is_named_to_whoever_asks_for_it() -> None:
    found = await routes(ConverterUnusable("no module named lines"))
    with pytest.raises(UnusableConverter, match=r"paper\.yaml: no module named lines"):
        get_route(found, "paper")
    assert complaint(found) == "paper.yaml: no module named lines"


async def test_nothing_is_said_about_converters_that_work() -> None:
    assert complaint(await routes(Description("lines", "1", ("test.line",)))) is None


async def test_a_document_may_not_take_more_than_its_share_of_the_service() -> None:
    described = Description("lines", "1", ("test.line",))
    assert get_route(await routes(described), "paper").limits.memory_bytes == 512_000_000
    assert get_route(await routes(described, most=200_000_000), "paper").limits.memory_bytes == 200_000_000
