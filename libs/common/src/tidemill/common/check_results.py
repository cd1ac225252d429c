"""What checks said of runs: a table of the same form in every service that judges runs, and its SQL."""

from collections.abc import Sequence

from sqlalchemy import Boolean, Column, DateTime, Float, MetaData, Table, Text, func
from sqlalchemy.dialects.postgresql import insert

from tidemill.common.bus.step import Tx
from tidemill.common.checks import Result


def check_results_table(metadata: MetaData) -> Table:
    """Declare the table in the service's metadata; a migration of the service makes it."""
    return Table("check_results", metadata, *check_results_columns(), comment="What checks said of each run.")


def check_results_columns() -> tuple[Column[object], ...]:
    return (
        Column("run", Text, primary_key=True),
        Column("name", Text, primary_key=True, comment="Of the check."),
        Column("source", Text, nullable=False),
        Column("severity", Text, nullable=False, comment="warn, block."),
        Column("passed", Boolean, nullable=False),
        Column("message", Text, nullable=False),
        Column("value", Float, comment="What was held against the bounds."),
        Column("judged_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    )


async def keep_results(tx: Tx, table: Table, source: str, run: str, results: Sequence[Result]) -> None:
    """In the place of what was said of the run before."""
    for result in results:
        said = {
            "source": source,
            "severity": result.severity,
            "passed": result.passed,
            "message": result.message,
            "value": result.value,
        }
        statement = insert(table).values(run=run, name=result.check, **said)
        statement = statement.on_conflict_do_update(
            index_elements=["run", "name"], set_={**said, "judged_at": func.clock_timestamp()}
        )
        await tx.execute(statement)
