"""Targets, runs, searches, jobs, decisions, pages, hosts, holds, requests, and the bus tables."""

import sqlalchemy as sa
from alembic import op
from alembic.operations import Operations
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from tidemill.common.bus.migration import create_bus_tables, drop_bus_tables
from tidemill.common.http.holding import create_holds
from tidemill.common.http.ledger import create_requests

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "scraper"
MOMENT = sa.DateTime(timezone=True)
STATE = """CASE
    WHEN gone_at IS NOT NULL THEN 'gone'
    WHEN duplicate_of IS NOT NULL THEN 'duplicate'
    WHEN given_up THEN 'given_up'
    WHEN failures > 0 THEN 'failing'
    WHEN misses > 0 THEN 'missing'
    WHEN content_hash IS NULL THEN 'new'
    ELSE 'present'
END"""


def upgrade() -> None:
    operations = Operations(op.get_context())
    create_bus_tables(operations, SCHEMA)
    create_holds(operations, SCHEMA)
    create_requests(operations, SCHEMA)
    op.create_table(
        "targets",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column(
            "item", sa.Text, nullable=False, comment="Name and identity in short: what plans and ledgers call it."
        ),
        sa.Column("identity", sa.Text, nullable=False, comment="Its address in one form, for comparing."),
        sa.Column("url", sa.Text, nullable=False, comment="As it was linked last: what is asked for."),
        sa.Column("host", sa.Text, nullable=False, comment="Of that."),
        sa.Column(
            "path", sa.Text, nullable=False, comment="As it was linked first: where its documents are said to be."
        ),
        sa.Column("name", sa.Text, nullable=False, comment="For people."),
        sa.Column("key", sa.Text, server_default="", nullable=False, comment="What the site calls it."),
        sa.Column(
            "labels", JSONB, server_default="{}", nullable=False, comment="Of the search that lists it: its city."
        ),
        sa.Column("carried", JSONB, server_default="{}", nullable=False, comment="What its entry says of it."),
        sa.Column(
            "hint", sa.Text, server_default="", nullable=False, comment="Digest of what in its entry tells of a change."
        ),
        sa.Column("first_seen_at", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False, comment="When it was listed last."),
        sa.Column("seen_run", sa.Text, nullable=False, comment="In which run."),
        sa.Column(
            "seen_search", sa.Integer, nullable=False, comment="In which search of it: the first of those that list it."
        ),
        sa.Column(
            "misses", sa.Integer, server_default="0", nullable=False, comment="Complete runs in a row without it."
        ),
        sa.Column("sha256", sa.Text, comment="Of the document it was last; null: it never came."),
        sa.Column("size_bytes", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("content_hash", sa.Text, comment="Of its fields, without those that change with every look."),
        sa.Column("rules", sa.Text, comment="Version of the rules that its fields were read by."),
        sa.Column("etag", sa.Text, comment="Validators of what came last, sent with the next request."),
        sa.Column("last_modified", sa.Text),
        sa.Column(
            "checked_hint", sa.Text, server_default="", nullable=False, comment="The hint when it was last looked at."
        ),
        sa.Column("checked_at", MOMENT, comment="When we last heard what it holds."),
        sa.Column("changed_at", MOMENT, comment="When that last was something else."),
        sa.Column(
            "failures", sa.Integer, server_default="0", nullable=False, comment="Runs in a row that did not get it."
        ),
        sa.Column("failure", sa.Text, comment="Why the last of them did not."),
        sa.Column("next_check_at", MOMENT, comment="Left alone until then."),
        sa.Column(
            "given_up", sa.Boolean, server_default="false", nullable=False, comment="Until its entry tells of a change."
        ),
        sa.Column("duplicate_of", sa.Text, comment="The item that its address leads to."),
        sa.Column("gone_at", MOMENT),
        sa.Column("gone_reason", sa.Text, comment="unlisted, not_found, removed, redirected."),
        sa.Column(
            "state",
            sa.Text,
            sa.Computed(STATE, persisted=True),
            nullable=False,
            comment="new, present, missing, failing, given_up, duplicate, gone.",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_targets"),
        sa.UniqueConstraint("source", "item", name="uq_targets_source_item"),
        schema=SCHEMA,
        comment="Pages that sources list or listed, and what is known of each.",
    )
    op.create_index("ix_targets_source_seen_run", "targets", ["source", "seen_run"], schema=SCHEMA)
    op.create_table(
        "runs",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False, comment="search, plan, fetch, finish, closed."),
        sa.Column("outcome", sa.Text, comment="complete, incomplete, failed, cancelled, timed_out."),
        sa.Column("config_version", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("most", sa.Integer, comment="Targets that were asked for: its parameter limit."),
        sa.Column(
            "everything",
            sa.Boolean,
            server_default="false",
            nullable=False,
            comment="All are stale: its parameter full.",
        ),
        sa.Column(
            "partial", sa.Boolean, nullable=False, comment="It does not look everywhere, so nothing it misses is gone."
        ),
        sa.Column("only_items", ARRAY(sa.Text), comment="Of a retry."),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("deadline", MOMENT),
        sa.Column("frozen_at", MOMENT, comment="Since when an emergency stop holds the deadline."),
        sa.Column("leased_until", MOMENT, comment="While a replica asks robots.txt for its plan."),
        sa.Column("items", sa.Integer, server_default="0", nullable=False, comment="Of its plan so far."),
        sa.Column(
            "statements", sa.Integer, server_default="0", nullable=False, comment="Parts of the plan that were stated."
        ),
        sa.Column("known", sa.BigInteger, comment="Targets it decided about."),
        sa.Column("seen", sa.BigInteger, comment="Of those, how many it saw listed."),
        sa.Column("held", sa.Text, comment="The check that keeps it from saying what is gone, and why."),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("planned_at", MOMENT, comment="When it decided."),
        sa.Column("closed_at", MOMENT),
        sa.PrimaryKeyConstraint("run", name="pk_runs"),
        schema=SCHEMA,
        comment="What became of each run of a source that scrapes.",
    )
    op.create_index("ix_runs_open", "runs", ["phase"], schema=SCHEMA, postgresql_where=sa.text("phase <> 'closed'"))
    op.create_index("ix_runs_source_requested_at", "runs", ["source", "requested_at"], schema=SCHEMA)
    op.create_table(
        "searches",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("search", sa.Integer, nullable=False, comment="In the order of the source file."),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("labels", JSONB, nullable=False, comment="What it looks for: {city: Helsinki}."),
        sa.Column("position", JSONB, nullable=False, comment="Where it is: it goes on from there after a crash."),
        sa.Column("pages", sa.Integer, server_default="0", nullable=False),
        sa.Column("seen", sa.Integer, server_default="0", nullable=False, comment="Entries, each once."),
        sa.Column("found", sa.Integer, comment="How many there are, by the site."),
        sa.Column("stop", sa.Text, comment="Why it ended; failed where a page could not be had."),
        sa.Column("complete", sa.Boolean, server_default="false", nullable=False, comment="It saw all there is."),
        sa.Column("failure", sa.Text, comment="Why it is not complete."),
        sa.Column("detail", sa.Text, server_default="", nullable=False),
        sa.Column(
            "problems", sa.Integer, server_default="0", nullable=False, comment="Entries that could not be read."
        ),
        sa.PrimaryKeyConstraint("run", "search", name="pk_searches"),
        sa.UniqueConstraint("run", "item", name="uq_searches_run_item"),
        schema=SCHEMA,
        comment="The searches of runs, and how far they came.",
    )
    op.create_table(
        "jobs",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False, comment="search, target."),
        sa.Column("target", sa.BigInteger, comment="targets.id"),
        sa.Column("decision", sa.Text, nullable=False, comment="Why a target is asked for; empty for searches."),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, comment="due, handed (somebody was told), done."),
        sa.Column("priority", sa.SmallInteger, nullable=False, comment="Lower goes first."),
        sa.Column("place", sa.BigInteger, nullable=False, comment="Among those of its priority."),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("handed", sa.Integer, server_default="0", nullable=False, comment="How often it was handed out."),
        sa.Column("leased_until", MOMENT, comment="Of one that was handed out: when it counts as lost."),
        sa.Column(
            "attempts", sa.Integer, server_default="0", nullable=False, comment="That failed; of a search, at its page."
        ),
        sa.Column("requests", sa.Integer, server_default="0", nullable=False, comment="Over all attempts."),
        sa.Column("bytes_received", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("config_version", sa.BigInteger, server_default="0", nullable=False),
        sa.Column(
            "outcome",
            sa.Text,
            comment="new, changed, unchanged, reappeared, gone, failed; searched; cancelled, timed_out.",
        ),
        sa.Column("failure", sa.Text, comment="Why it failed."),
        sa.Column("planned_at", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.Column("done_at", MOMENT),
        sa.PrimaryKeyConstraint("run", "item", name="pk_jobs"),
        schema=SCHEMA,
        comment="What runs have to ask for: the queue. The stream only dispatches what is handed out.",
    )
    op.create_index("ix_jobs_done_at", "jobs", ["done_at"], schema=SCHEMA, postgresql_where=sa.text("state = 'done'"))
    op.create_index(
        "ix_jobs_due",
        "jobs",
        ["source", "host", "priority", "place", "run", "item"],
        schema=SCHEMA,
        postgresql_where=sa.text("state = 'due'"),
    )
    op.create_index(
        "ix_jobs_handed", "jobs", ["source", "item"], schema=SCHEMA, postgresql_where=sa.text("state = 'handed'")
    )
    op.create_index("ix_jobs_open", "jobs", ["run"], schema=SCHEMA, postgresql_where=sa.text("state <> 'done'"))
    op.create_table(
        "decisions",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("target", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("decided_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("run", "target", name="pk_decisions"),
        schema=SCHEMA,
        comment="What each run did about each target it knew, and why; what came of it stands in the jobs.",
    )
    op.create_index("ix_decisions_decided_at", "decisions", ["decided_at"], schema=SCHEMA, postgresql_using="brin")
    op.create_table(
        "pages",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False, comment="search, target."),
        sa.Column("url", sa.Text, nullable=False, comment="After redirects."),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("sha256", sa.Text, comment="Of the bytes in the archive; null where none came, as with a 304."),
        sa.Column("size_bytes", sa.BigInteger, server_default="0", nullable=False),
        sa.Column(
            "state", sa.Text, nullable=False, comment="ok, gone, blocked, soft_404, shell, incomplete; of a search, ok."
        ),
        sa.Column("detail", sa.Text, server_default="", nullable=False, comment="What that is told by."),
        sa.Column("content_hash", sa.Text),
        sa.Column("fields", ARRAY(sa.Text), comment="Those with a value, where the page was read."),
        sa.Column("fetched_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pages"),
        schema=SCHEMA,
        comment="Every page that came, also those that nothing was made of.",
    )
    op.create_index("ix_pages_fetched_at", "pages", ["fetched_at"], schema=SCHEMA, postgresql_using="brin")
    op.create_index("ix_pages_run_item", "pages", ["run", "item"], schema=SCHEMA)
    op.create_table(
        "search_pages",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("found_at", sa.Text, nullable=False, comment="Its address after redirects."),
        sa.Column("etag", sa.Text),
        sa.Column("last_modified", sa.Text),
        sa.Column("content_type", sa.Text, server_default="", nullable=False),
        sa.Column(
            "sha256", sa.Text, nullable=False, comment="Of the bytes in the archive: read again where nothing changed."
        ),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("fetched_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("source", "url", name="pk_search_pages"),
        schema=SCHEMA,
        comment="What search pages said last, so that one that did not change need not be sent again.",
    )
    op.create_table(
        "hosts",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("not_before", MOMENT, comment="Nothing is handed out for it until then."),
        sa.Column("run", sa.Text, server_default="", nullable=False, comment="Whose requests failed in a row."),
        sa.Column("in_row", sa.Integer, server_default="0", nullable=False),
        sa.Column("failure", sa.Text, server_default="", nullable=False, comment="How the last of them did."),
        sa.PrimaryKeyConstraint("source", "host", name="pk_hosts"),
        schema=SCHEMA,
        comment="Hosts that give trouble.",
    )


def downgrade() -> None:
    for table in (
        "hosts",
        "search_pages",
        "pages",
        "decisions",
        "jobs",
        "searches",
        "runs",
        "targets",
        "requests",
        "holds",
    ):
        op.drop_table(table, schema=SCHEMA)
    drop_bus_tables(Operations(op.get_context()), SCHEMA)
