"""Every rule that ships is fired by its real cause in a test of `make test`: services at work, no forged event."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from tidemill.alerter.shipped import shipped_rules

FIRED_BY = {
    "test_causes": {
        "test_slots_are_missed_while_every_scheduler_is_dead": ("slot_missed",),
        "test_skipped_slots_are_told_with_their_reason": ("slot_skipped",),
        "test_a_run_that_nobody_takes_up_is_late": ("run_late",),
        "test_a_run_that_takes_much_longer_than_the_last_ones_is_told": ("run_too_long",),
        "test_events_that_cannot_be_published_are_told": ("outbox_stuck",),
        "test_a_queue_that_grows_is_told": ("queue_growing",),
        "test_a_queue_that_nobody_takes_from_is_told": ("queue_old", "no_consumer"),
        "test_a_disk_that_fills_is_told_and_resolved_when_there_is_room": ("disk_filling",),
        "test_nats_that_is_lost_is_told_by_postgres_alone": ("nats_down",),
        "test_a_channel_that_takes_nothing_is_told_through_another": ("channel_broken",),
        "test_a_backup_that_does_not_come_is_missed_where_they_come_by_themselves": ("backup_old",),
    },
    "test_causes_of_collecting": {
        "test_a_run_that_gets_nothing_is_told_and_hides_the_files_it_did_not_get": ("run_failed", "documents_failing"),
        "test_a_run_that_does_not_get_everything_is_told_with_the_share_that_failed": ("run_partial", "error_rate"),
        "test_a_host_that_answers_with_errors_is_no_longer_asked": ("host_blocked",),
        "test_a_budget_that_is_spent_is_told": ("budget_spent",),
        "test_records_that_checks_hold_are_told_when_they_are_many": ("check_failed", "quarantine_full"),
        "test_what_comes_and_cannot_be_used_is_told": ("layout_unrecognised", "conversion_broken"),
        "test_a_file_that_does_not_come_in_its_window_is_told": ("publication_late",),
        "test_a_message_that_nobody_understands_is_a_dead_letter_and_told": ("dead_letters",),
    },
    "test_causes_of_reporting": {
        "test_pages_that_are_given_up_are_told": ("target_given_up",),
        "test_what_a_portal_changes_is_told": ("quality_drop", "anomaly"),
        "test_a_report_that_nobody_takes_is_told": ("report_not_delivered",),
    },
    "test_causes_of_processes": {
        "test_a_replica_that_cannot_take_a_configuration_or_is_killed_is_told": (
            "replica_lost",
            "service_down",
            "config_not_taken",
        ),
        "test_memory_that_runs_short_in_the_container_is_told": ("memory_short",),
        "test_a_configuration_with_a_mistake_is_told_until_a_valid_one_comes": ("config_refused",),
    },
}
"""By module and test, the rules."""
TABLE = [(module, test, rule) for module, tests in FIRED_BY.items() for test, rules in tests.items() for rule in rules]


def test_the_table_has_every_rule_that_ships_once() -> None:
    assert Counter(rule for _, _, rule in TABLE) == Counter([*shipped_rules()])


@pytest.mark.parametrize(("module", "test", "rule"), TABLE, ids=[rule for _, _, rule in TABLE])
def test_the_test_is_there_runs_always_and_is_about_the_rule(module: str, test: str, rule: str) -> None:
    tree = ast.parse((Path(__file__).parent / f"{module}.py").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    (found,) = [function for function in functions if function.name == test]
    assert rule in {node.value for node in ast.walk(found) if isinstance(node, ast.Constant)}
    marks = [statement for statement in tree.body if isinstance(statement, ast.Assign)] + found.decorator_list
    names = {node.attr for mark in marks for node in ast.walk(mark) if isinstance(node, ast.Attribute)}
    assert not names & {"long", "skip", "skipif", "xfail"}
