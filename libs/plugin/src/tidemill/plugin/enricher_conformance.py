"""Checks that a test suite can run on an enricher: `assert_enriches(MyEnricher(), subjects, {"addresses": [path]})`."""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from tidemill.plugin.conformance import no_json
from tidemill.plugin.conversion import API_VERSION
from tidemill.plugin.enrichment import Enricher, Enrichment, References, Subject

RULES: Mapping[str, str] = {
    "identity": "has a name in lower case, a version, the version of this interface, a dataset, a model, references",
    "without": "opens without any reference data, for they may not be imported yet",
    "answers": "gives one answer for each subject, JSON values that fit its model, or None",
    "same again": "gives the same answers again, opened anew, and for each subject alone",
    "leaves alone": "changes no subject",
    "question": "asks a text for each record, the same each time",
}


def assert_enriches(enricher: Enricher, subjects: Sequence[Subject], references: References) -> None:
    """An AssertionError lists every rule that is broken."""
    breaches = find_breaches(enricher, subjects, references)
    if breaches:
        raise AssertionError("\n".join(breaches))


def find_breaches(enricher: Enricher, subjects: Sequence[Subject], references: References) -> list[str]:
    """Each rule that an enricher breaks, with what showed it; some subjects are needed to see most of them."""
    breaches = list(_identity(enricher))
    if breaches:
        return breaches
    try:
        empty = enricher.open({})
    except Exception as error:  # noqa: BLE001 - whatever a plugin does wrong is a finding
        return [f"without: {type(error).__name__}: {error}"]
    for enrichment in (empty, enricher.open(references)):
        breaches += _answers(enricher, enrichment, subjects)
    if not breaches:
        breaches += _repetition(enricher, subjects, references)
    return list(dict.fromkeys(breaches))


def _identity(enricher: Enricher) -> Iterator[str]:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", enricher.name):
        yield f"identity: the name is {enricher.name!r}; write lower case letters, digits and underscores, up to 40"
    if not enricher.version:
        yield "identity: the version is empty"
    if enricher.api_version != API_VERSION:
        yield f"identity: api_version must be {API_VERSION}"
    if "." not in enricher.dataset:
        yield f"identity: {enricher.dataset!r} is no dataset"
    if not isinstance(enricher.references, tuple):
        yield f"identity: references is {enricher.references!r}; write a tuple of kinds"


def _answers(enricher: Enricher, enrichment: Enrichment, subjects: Sequence[Subject]) -> Iterator[str]:
    before = copy.deepcopy(subjects)
    answers = enrichment.enrich(subjects)
    if subjects != before:
        yield "leaves alone: a subject is another after it was enriched"
    if len(answers) != len(subjects):
        yield f"answers: {len(answers)} answers for {len(subjects)} subjects"
    for answer in answers:
        if answer is None:
            continue
        if wrong := no_json(answer):
            yield f"answers: {wrong}"
        try:
            enricher.model.model_validate(answer)
        except ValidationError as error:
            yield f"answers: {error.errors(include_url=False)[:1]}"
    for subject in subjects:
        asked: Any = enrichment.question(subject.record)
        if not isinstance(asked, str) or asked != enrichment.question(subject.record):
            yield f"question: {asked!r}"


def _repetition(enricher: Enricher, subjects: Sequence[Subject], references: References) -> Iterator[str]:
    enrichment = enricher.open(references)
    answers = list(enrichment.enrich(subjects))
    if answers != list(enricher.open(references).enrich(subjects)):
        yield "same again: another answer when opened anew"
    for subject, answer in zip(subjects, answers, strict=True):
        if list(enrichment.enrich([subject])) != [answer]:
            yield f"same again: another answer for {subject.record!r:.200} alone"
