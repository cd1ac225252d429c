"""What a dataset may want reported, and how what is wrong with it is told."""

from dataclasses import replace

from pydantic import BaseModel

from tidemill.plugin import Breakdown, Dataset, Figure, Movement, NameField, Reporting, Tally
from tidemill.plugin.report_conformance import assert_reports, find_report_breaches


class Catch(BaseModel):
    port: str
    fish: str
    kilos: float
    source: str = ""


CATCH = Dataset("harbour.catch", Catch, names={"species": NameField("harbour.fish", raw="fish", scope="port")})


def wrong(*figures: Figure, **more: object) -> list[str]:
    return find_report_breaches(replace(CATCH, report=Reporting(figures=figures, **more)))  # type: ignore[arg-type]


def test_fields_names_origins_functions_and_constants_make_an_expression() -> None:
    assert_reports(CATCH)
    hints = Reporting(
        breakdowns=(Breakdown("port", "Port", "lower(port) || ' ''quoted'''"),),
        figures=(
            Figure("sure", "Sure", "species_confidence >= 0.9 AND record_source <> 'x'", "share"),
            Figure("parts", "Parts", "(SELECT max(one.part) FROM f(kilos) AS one (part))::numeric", "mean"),
        ),
        movements=(Movement("kilos", "Weight", "CASE WHEN fish = 'cod' THEN kilos END", "kg"),),
    )
    assert_reports(replace(CATCH, report=hints))


def test_a_column_that_is_not_there_is_named() -> None:
    assert wrong(Figure("k", "K", "kilo", "sum")) == ["columns: k names kilo, which is no column of the view"]
    assert wrong(Figure("k", "K", '"Kilos"', "sum")) == ['columns: k names "Kilos", which is no column of the view']
    assert wrong(movements=(Movement("m", "M", "pounds"),)) == [
        "columns: m names pounds, which is no column of the view"
    ]


def test_more_than_an_expression_is_refused() -> None:
    assert wrong(Figure("k", "K", "kilos; DROP TABLE x", "sum"))[0] == "one expression: k holds ';'"
    assert wrong(Figure("k", "K", "", "sum")) == ["one expression: k is empty"]
    assert wrong(Figure("k", "K", "kilos -- all", "sum"))[0] == "one expression: k holds a comment"
    assert wrong(Figure("k", "K", ":kilos", "sum"))[0] == "one expression: k holds ':'"


def test_names_and_aggregates_are_checked() -> None:
    twice = wrong(Figure("k", "K", "kilos", "sum"), Figure("k", "K", "kilos", "mean"))
    assert twice == ["names: k is there twice"]
    assert wrong(Figure("K g", "K", "kilos", "sum"))[0].startswith("names: 'K g'")
    assert wrong(Figure("k", "K", "kilos", "average")) == ["aggregates: k is aggregated as 'average'"]  # type: ignore[arg-type]


def test_a_tally_needs_the_dataset_of_its_children() -> None:
    tally = Tally("crates", "Crates", "Port", {"crates": "Crates"}, "harbour.crate", lambda catch, crates: {})
    assert wrong(tallies=(tally, tally)) == [
        "names: crates is there twice",
        "parents: crates counts harbour.crate, which is not installed",
        "parents: crates counts harbour.crate, which is not installed",
    ]


def test_a_breakdown_by_parents_needs_their_dataset() -> None:
    assert wrong(breakdowns=(Breakdown("ship", "Ship", "name", parent="harbour.ship"),)) == [
        "parents: ship is of harbour.ship, which is not installed"
    ]
