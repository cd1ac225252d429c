"""The tables only the scraper writes."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from tidemill.common.bus.tables import bus_tables
from tidemill.common.check_results import check_results_table
from tidemill.common.database import service_metadata
from tidemill.common.http.holding import holds_table
from tidemill.common.http.ledger import requests_table

SCHEMA = "scraper"
metadata = service_metadata(SCHEMA)
bus = bus_tables(metadata)

MOMENT = DateTime(timezone=True)

STATE = """CASE
    WHEN gone_at IS NOT NULL THEN 'gone'
    WHEN duplicate_of IS NOT NULL THEN 'duplicate'
    WHEN given_up THEN 'given_up'
    WHEN failures > 0 THEN 'failing'
    WHEN misses > 0 THEN 'missing'
    WHEN content_hash IS NULL THEN 'new'
    ELSE 'present'
END"""

targets = Table(
    "targets",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("source", Text, nullable=False),
    Column("item", Text, nullable=False, comment="Name and identity in short: what plans and ledgers call it."),
    Column("identity", Text, nullable=False, comment="Its address in one form, for comparing."),
    Column("url", Text, nullable=False, comment="As it was linked last: what is asked for."),
    Column("host", Text, nullable=False, comment="Of that."),
    Column("path", Text, nullable=False, comment="As it was linked first: where its documents are said to be."),
    Column("name", Text, nullable=False, comment="For people."),
    Column("key", Text, nullable=False, server_default="", comment="What the site calls it."),
    Column("labels", JSONB, nullable=False, server_default="{}", comment="Of the search that lists it: its city."),
    Column("carried", JSONB, nullable=False, server_default="{}", comment="What its entry says of it."),
    Column("hint", Text, nullable=False, server_default="", comment="Digest of what in its entry tells of a change."),
    Column("first_seen_at", MOMENT, nullable=False),
    Column("seen_at", MOMENT, nullable=False, comment="When it was listed last."),
    Column("seen_run", Text, nullable=False, comment="In which run."),
    Column("seen_search", Integer, nullable=False, comment="In which search of it: the first of those that list it."),
    Column("misses", Integer, nullable=False, server_default="0", comment="Complete runs in a row without it."),
    Column("sha256", Text, comment="Of the document it was last; null: it never came."),
    Column("size_bytes", BigInteger, nullable=False, server_default="0"),
    Column("content_hash", Text, comment="Of its fields, without those that change with every look."),
    Column("rules", Text, comment="Version of the rules that its fields were read by."),
    Column("etag", Text, comment="Validators of what came last, sent with the next request."),
    Column("last_modified", Text),
    Column("content_type", Text, nullable=False, server_default="", comment="Of what came last, as the site said."),
    Column("checked_hint", Text, nullable=False, server_default="", comment="The hint when it was last looked at."),
    Column("checked_at", MOMENT, comment="When we last heard what it holds."),
    Column("changed_at", MOMENT, comment="When that last was something else."),
    Column("failures", Integer, nullable=False, server_default="0", comment="Runs in a row that did not get it."),
    Column("failure", Text, comment="Why the last of them did not."),
    Column("next_check_at", MOMENT, comment="Left alone until then."),
    Column("given_up", Boolean, nullable=False, server_default="false", comment="Until its entry tells of a change."),
    Column("duplicate_of", Text, comment="The item that its address leads to."),
    Column("gone_at", MOMENT),
    Column("gone_reason", Text, comment="unlisted, not_found, removed, redirected."),
    Column(
        "state",
        Text,
        Computed(STATE, persisted=True),
        nullable=False,
        comment="new, present, missing, failing, given_up, duplicate, gone.",
    ),
    UniqueConstraint("source", "item"),
    Index("ix_targets_source_seen_run", "source", "seen_run"),
    Index("ix_targets_given_up", "source", postgresql_where=text("given_up AND gone_at IS NULL")),
    comment="Pages that sources list or listed, and what is known of each.",
)

runs = Table(
    "runs",
    metadata,
    Column("run", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("phase", Text, nullable=False, comment="search, plan, fetch, finish, closed."),
    Column("outcome", Text, comment="complete, incomplete, failed, cancelled, timed_out."),
    Column("config_version", BigInteger, nullable=False, server_default="0"),
    Column("most", Integer, comment="Targets that were asked for: its parameter limit."),
    Column("everything", Boolean, nullable=False, server_default="false", comment="All are stale: its parameter full."),
    Column("partial", Boolean, nullable=False, comment="It does not look everywhere, so nothing it misses is gone."),
    Column("only_items", ARRAY(Text), comment="Of a retry."),
    Column("priority", SmallInteger, nullable=False),
    Column("deadline", MOMENT),
    Column("frozen_at", MOMENT, comment="Since when an emergency stop holds the deadline."),
    Column("leased_until", MOMENT, comment="While a replica asks robots.txt for its plan."),
    Column("items", Integer, nullable=False, server_default="0", comment="Of its plan so far."),
    Column("statements", Integer, nullable=False, server_default="0", comment="Parts of the plan that were stated."),
    Column("known", BigInteger, comment="Targets it decided about."),
    Column("seen", BigInteger, comment="Of those, how many it saw listed."),
    Column("held", Text, comment="The check that keeps it from saying what is gone, and why."),
    Column("released_at", MOMENT, comment="When somebody said that what a check held may be gone."),
    Column("released_by", Text),
    Column("requested_at", MOMENT, nullable=False),
    Column("planned_at", MOMENT, comment="When it decided."),
    Column("closed_at", MOMENT),
    Index("ix_runs_open", "phase", postgresql_where=text("phase <> 'closed'")),
    Index("ix_runs_source_requested_at", "source", "requested_at"),
    comment="What became of each run of a source that scrapes.",
)

searches = Table(
    "searches",
    metadata,
    Column("run", Text, primary_key=True),
    Column("search", Integer, primary_key=True, comment="In the order of the source file."),
    Column("item", Text, nullable=False),
    Column("labels", JSONB, nullable=False, comment="What it looks for: {city: Helsinki}."),
    Column("position", JSONB, nullable=False, comment="Where it is: it goes on from there after a crash."),
    Column("pages", Integer, nullable=False, server_default="0"),
    Column("seen", Integer, nullable=False, server_default="0", comment="Entries, each once."),
    Column("found", Integer, comment="How many there are, by the site."),
    Column("stop", Text, comment="Why it ended; failed where a page could not be had."),
    Column("complete", Boolean, nullable=False, server_default="false", comment="It saw all there is."),
    Column("failure", Text, comment="Why it is not complete."),
    Column("detail", Text, nullable=False, server_default=""),
    Column("problems", Integer, nullable=False, server_default="0", comment="Entries that could not be read."),
    UniqueConstraint("run", "item"),
    comment="The searches of runs, and how far they came.",
)

jobs = Table(
    "jobs",
    metadata,
    Column("run", Text, primary_key=True),
    Column("item", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("kind", Text, nullable=False, comment="search, target."),
    Column("target", BigInteger, comment="targets.id"),
    Column("decision", Text, nullable=False, comment="Why a target is asked for; empty for searches."),
    Column("url", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("state", Text, nullable=False, comment="due, handed (somebody was told), done."),
    Column("priority", SmallInteger, nullable=False, comment="Lower goes first."),
    Column("place", BigInteger, nullable=False, comment="Among those of its priority."),
    Column("due_at", MOMENT, nullable=False),
    Column("handed", Integer, nullable=False, server_default="0", comment="How often it was handed out."),
    Column("leased_until", MOMENT, comment="Of one that was handed out: when it counts as lost."),
    Column("attempts", Integer, nullable=False, server_default="0", comment="That failed; of a search, at its page."),
    Column("requests", Integer, nullable=False, server_default="0", comment="Over all attempts."),
    Column("bytes_received", BigInteger, nullable=False, server_default="0"),
    Column("config_version", BigInteger, nullable=False, server_default="0"),
    Column(
        "outcome",
        Text,
        comment="new, changed, unchanged, reappeared, gone, failed; searched; cancelled, timed_out.",
    ),
    Column("failure", Text, comment="Why it failed."),
    Column("planned_at", MOMENT, nullable=False, server_default=func.now()),
    Column("done_at", MOMENT),
    Index("ix_jobs_due", "source", "host", "priority", "place", "run", "item", postgresql_where=text("state = 'due'")),
    Index("ix_jobs_open", "run", postgresql_where=text("state <> 'done'")),
    Index("ix_jobs_handed", "source", "item", postgresql_where=text("state = 'handed'")),
    Index("ix_jobs_done_at", "done_at", postgresql_where=text("state = 'done'")),
    comment="What runs have to ask for: the queue. The stream only dispatches what is handed out.",
)

decisions = Table(
    "decisions",
    metadata,
    Column("run", Text, primary_key=True),
    Column("target", BigInteger, primary_key=True),
    Column("source", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("decided_at", MOMENT, nullable=False),
    Index("ix_decisions_decided_at", "decided_at", postgresql_using="brin"),
    comment="What each run did about each target it knew, and why; what came of it stands in the jobs.",
)

pages = Table(
    "pages",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("source", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("kind", Text, nullable=False, comment="search, target."),
    Column("url", Text, nullable=False, comment="After redirects."),
    Column("status", Integer, nullable=False),
    Column("sha256", Text, comment="Of the bytes in the archive; null where none came, as with a 304."),
    Column("size_bytes", BigInteger, nullable=False, server_default="0"),
    Column("state", Text, nullable=False, comment="ok, gone, blocked, soft_404, shell, incomplete; of a search, ok."),
    Column("detail", Text, nullable=False, server_default="", comment="What that is told by."),
    Column("content_hash", Text),
    Column("fields", ARRAY(Text), comment="Those with a value, where the page was read."),
    Column("fetched_at", MOMENT, nullable=False),
    Index("ix_pages_run_item", "run", "item"),
    Index("ix_pages_fetched_at", "fetched_at", postgresql_using="brin"),
    comment="Every page that came, also those that nothing was made of.",
)

search_pages = Table(
    "search_pages",
    metadata,
    Column("source", Text, primary_key=True),
    Column("url", Text, primary_key=True),
    Column("found_at", Text, nullable=False, comment="Its address after redirects."),
    Column("etag", Text),
    Column("last_modified", Text),
    Column("content_type", Text, nullable=False, server_default=""),
    Column("sha256", Text, nullable=False, comment="Of the bytes in the archive: read again where nothing changed."),
    Column("size_bytes", BigInteger, nullable=False),
    Column("fetched_at", MOMENT, nullable=False),
    comment="What search pages said last, so that one that did not change need not be sent again.",
)

hosts = Table(
    "hosts",
    metadata,
    Column("source", Text, primary_key=True),
    Column("host", Text, primary_key=True),
    Column("not_before", MOMENT, comment="Nothing is handed out for it until then."),
    Column("run", Text, nullable=False, server_default="", comment="Whose requests failed in a row."),
    Column("in_row", Integer, nullable=False, server_default="0"),
    Column("failure", Text, nullable=False, server_default="", comment="How the last of them did."),
    comment="Hosts that give trouble.",
)

holds = holds_table(metadata)
requests = requests_table(metadata)
check_results = check_results_table(metadata)
