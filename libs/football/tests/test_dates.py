"""Dates of the offer: by the row's own letter, in Budapest's time."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.football.dates import (
    WEEKDAYS,
    find_date,
    kickoff,
    match_day,
    parse_day_heading,
    parse_issue_number,
)

MONTHS = "január február március április május június július augusztus szeptember október november december".split()
DAYS = "Hétfő Kedd Szerda Csütörtök Péntek Szombat Vasárnap".split()
LETTERS = list(WEEKDAYS)

dates = st.dates(date(2000, 1, 1), date(2099, 12, 31))


@given(dates)
def test_a_day_heading_names_its_date(day: date) -> None:
    printed = f"{DAYS[day.weekday()]} ({day.year}. {MONTHS[day.month - 1]} {day.day}.)"
    assert parse_day_heading(printed) == day
    assert parse_day_heading(printed.upper()) == day
    assert parse_day_heading(printed.replace(" ", "")) == day


@pytest.mark.parametrize(
    "text",
    [
        "2025. július 18.",
        "Labdarúgás, Kínai bajnokság",
        "Péntek",
        "A játék péntek (2025. július 18.) délig tart",
        "Péntek (2025. február 30.)",
        "",
    ],
)
def test_other_lines_are_no_day_headings(text: str) -> None:
    assert parse_day_heading(text) is None


def test_a_date_in_words_is_found_anywhere() -> None:
    assert find_date("16 2025. július 18.") == date(2025, 7, 18)
    assert find_date("2025. JÚLIUS 1.") == date(2025, 7, 1)
    assert find_date("2025. 07. 18.") is None


def test_the_masthead_tells_the_number_of_the_issue() -> None:
    assert parse_issue_number("XXIv. évfolyam 57. szám") == 57
    assert parse_issue_number("57. hét") is None


@given(dates, st.sampled_from(LETTERS))
def test_a_row_is_played_on_the_first_such_day_from_the_heading_on(heading: date, letter: str) -> None:
    day = match_day(heading, letter)
    assert heading <= day < heading + timedelta(days=7)
    assert day.weekday() == WEEKDAYS[letter]


def test_a_row_without_a_letter_is_played_on_the_day_of_its_heading() -> None:
    assert match_day(date(2025, 7, 18), "") == date(2025, 7, 18)


@pytest.mark.parametrize(
    "day, printed, moment",
    [
        (date(2025, 7, 18), "10:30", "2025-07-18T08:30:00+00:00"),
        (date(2025, 7, 19), "02:00", "2025-07-19T00:00:00+00:00"),
        (date(2025, 12, 5), "9:00", "2025-12-05T08:00:00+00:00"),
        (date(2025, 10, 26), "02:30", "2025-10-26T00:30:00+00:00"),
        (date(2025, 3, 30), "02:30", "2025-03-30T01:30:00+00:00"),
    ],
)
def test_a_kickoff_is_a_moment_in_budapest(day: date, printed: str, moment: str) -> None:
    assert kickoff(day, printed).isoformat() == moment


@pytest.mark.parametrize("printed", ["25:00", "12:60"])
def test_a_time_that_no_clock_shows_is_an_error(printed: str) -> None:
    with pytest.raises(ValueError):
        kickoff(date(2025, 7, 18), printed)
