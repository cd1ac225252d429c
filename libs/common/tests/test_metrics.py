"""Metrics: declared once, labelled with their service, told per service."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tidemill.common.telemetry import metrics
from tidemill.common.telemetry.metrics import (
    CACHE_REQUESTS,
    CONSUMER_WAITING,
    HANDLED,
    METRICS,
    OUTBOX_UNSENT,
    WORK_SECONDS,
    Few,
    Metrics,
    exposition,
    render_docs,
    value,
)

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_what_one_service_counts_carries_its_name() -> None:
    Metrics("metrics-a").of(HANDLED, consumer="c", outcome="done").inc(3)
    Metrics("metrics-b").of(HANDLED, consumer="c", outcome="done").inc()
    assert value("tidemill_handled_total", service="metrics-a", consumer="c", outcome="done") == 3
    assert value("tidemill_handled_total", service="metrics-b", consumer="c", outcome="done") == 1


def test_the_order_of_labels_does_not_matter() -> None:
    ours = Metrics("metrics-order")
    ours.of(CACHE_REQUESTS, namespace="n", result="hit").inc()
    ours.of(CACHE_REQUESTS, result="hit", namespace="n").inc()
    assert value("tidemill_cache_requests_total", service="metrics-order", namespace="n", result="hit") == 2


def test_values_that_others_choose_stay_few() -> None:
    few = Few(2)
    assert [few.name(host) for host in ("a", "b", "c", "a", "d")] == ["a", "b", "other", "a", "other"]


def test_what_is_shown_no_more_goes() -> None:
    ours = Metrics("metrics-shown")
    ours.show(CONSUMER_WAITING, {("a",): 1, ("b",): 2})
    ours.show(CONSUMER_WAITING, {("b",): 3})
    assert value("tidemill_consumer_waiting", service="metrics-shown", consumer="b") == 3
    assert 'consumer="a"' not in exposition("metrics-shown").decode()
    assert 'consumer="b"' in exposition("metrics-shown").decode()


def test_the_network_of_the_machine_is_counted() -> None:
    families = {family.name: family for family in text_string_to_metric_families(exposition("nobody").decode())}
    for name in ("network_bytes", "network_errors"):
        assert {sample.labels["direction"] for sample in families[name].samples} == {"received", "sent"}


def test_a_forgotten_label_is_an_error() -> None:
    with pytest.raises(ValueError, match="label"):
        Metrics("metrics-forgot").of(HANDLED, consumer="c")


def test_the_text_of_one_service_leaves_the_others_out_but_shows_the_process() -> None:
    Metrics("metrics-mine").of(OUTBOX_UNSENT).set(4)
    Metrics("metrics-other").of(OUTBOX_UNSENT).set(5)
    families = {family.name: family for family in text_string_to_metric_families(exposition("metrics-mine").decode())}
    assert [sample.value for sample in families["tidemill_outbox_unsent"].samples] == [4]
    assert "process_cpu_seconds" in families


def test_the_text_of_the_process_shows_every_service() -> None:
    Metrics("metrics-one").of(WORK_SECONDS, consumer="c").observe(0.2)
    Metrics("metrics-two").of(WORK_SECONDS, consumer="c").observe(0.2)
    text = exposition().decode()
    assert 'service="metrics-one"' in text
    assert 'service="metrics-two"' in text
    assert "_created" not in text


def test_a_name_that_is_not_ours_is_refused() -> None:
    with pytest.raises(ValueError, match="_total"):
        metrics.counter("tidemill_things", "Things")
    with pytest.raises(ValueError, match="tidemill_"):
        metrics.gauge("things", "Things")


def test_a_name_is_declared_once() -> None:
    with pytest.raises(ValueError, match="Duplicated"):
        metrics.gauge("tidemill_outbox_unsent", "Again")


def test_every_meaning_is_one_line_without_a_full_stop() -> None:
    for metric in METRICS.values():
        assert re.fullmatch(r"\S[^\n|]*[^.\s]", metric.meaning), metric.name


def test_names_say_their_unit() -> None:
    for metric in METRICS.values():
        if metric.kind == "histogram" and metric.name != "tidemill_group_commit_size":
            assert metric.name.endswith(("_seconds", "_bytes")), metric.name


def test_the_document_is_what_the_declarations_say() -> None:
    assert DOCS.read_text() == render_docs(), "run: python -m tidemill.common.telemetry.metrics > docs/metrics.md"


@given(st.text())
def test_any_label_value_survives_the_text(label: str) -> None:
    ours = Metrics("metrics-text")
    ours.of(CACHE_REQUESTS, namespace=label, result="hit").inc()
    families = text_string_to_metric_families(exposition("metrics-text").decode())
    seen = {
        sample.labels["namespace"] for family in families for sample in family.samples if "namespace" in sample.labels
    }
    assert label in seen
