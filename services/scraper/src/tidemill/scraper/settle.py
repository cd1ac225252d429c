"""Pure: what an attempt comes to: for its job, for its target, and for those who listen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tidemill.common.events import (
    DocumentFailed,
    DocumentGone,
    DocumentStored,
    DocumentUnchanged,
    Event,
    ScrapeDue,
)
from tidemill.extract.documents import CONTENT_TYPE
from tidemill.scraper import policy
from tidemill.scraper.outcomes import (
    Attempt,
    Content,
    Duplicate,
    Ended,
    Failed,
    Gone,
    Listed,
    Present,
    Unmodified,
)

PROBLEMS_KEPT = 2_000


@dataclass(frozen=True, slots=True)
class Tally:
    """What a job took so far, over all its attempts, this one included."""

    attempts: int
    requests: int
    bytes_received: int
    handed: int


@dataclass(frozen=True, slots=True)
class Settled:
    """Rows to write. A job is done, with an outcome; or due again; or, of a search, to be done with its next page."""

    outcome: str = ""
    failure: str = ""
    due_at: datetime | None = None
    next_url: str = ""
    event: Event | None = None
    target: Mapping[str, Any] | None = None
    """Columns of a target that change."""
    search: Mapping[str, Any] | None = None
    """Columns of a search that change."""
    trouble: str = ""
    """The failure, where it may be the host's."""
    entries: tuple[Mapping[str, Any], ...] = field(default=())
    """Columns of targets that a search page lists."""


def settle(due: ScrapeDue, attempt: Attempt, tally: Tally) -> Settled:
    claimed = attempt.claimed
    assert claimed is not None
    if isinstance(attempt.outcome, Failed):
        failed = attempt.outcome
        pause = policy.pause_after(failed.failure, tally.attempts, failed.not_before, attempt.at)
        if failed.retry and pause is not None:
            return Settled(failure=failed.failure, due_at=attempt.at + pause, trouble=_trouble(failed))
    if claimed.search is not None:
        return _search(due, attempt)
    assert claimed.target is not None
    return _target(due, attempt, claimed.target, tally)


def _trouble(failed: Failed) -> str:
    return failed.failure if failed.retry and failed.failure in policy.OF_THE_HOST else ""


def _search(due: ScrapeDue, attempt: Attempt) -> Settled:
    claimed = attempt.claimed
    assert claimed is not None
    assert claimed.search is not None
    key = {"run": due.run, "search": claimed.search.search}
    match attempt.outcome:
        case Listed() as listed:
            step = listed.step
            entries = tuple(
                {
                    "source": due.source,
                    "run": due.run,
                    "search": claimed.search.search,
                    "item": entry.item,
                    "identity": entry.identity,
                    "url": entry.url,
                    "host": policy.host_of(entry.url),
                    "name": entry.name,
                    "key": entry.key,
                    "hint": entry.hint,
                    "carried": dict(entry.carried),
                    "at": attempt.at.isoformat(),
                }
                for entry in listed.entries
            )
            search = {
                **key,
                "pages": 1,
                "position": position_json(step.position),
                "found": step.position.found,
                "stop": None if step.stop is None else str(step.stop),
                "complete": step.complete,
                "failure": None if step.complete or step.stop is None else str(step.stop),
                "detail": "; ".join(listed.problems)[:PROBLEMS_KEPT],
                "problems": len(listed.problems),
            }
            if step.stop is None:
                return Settled(next_url=step.position.url, search=search, entries=entries)
            return Settled(outcome="searched", search=search, entries=entries)
        case Ended() as ended:
            failure = None if ended.complete else ended.stop
            return Settled(
                outcome="searched",
                search={**key, "pages": 0, "stop": ended.stop, "complete": ended.complete, "failure": failure},
            )
        case Failed() as failed:
            search = {**key, "pages": 0, "stop": "failed", "complete": False, "failure": failed.failure}
            return Settled(
                outcome="failed",
                failure=failed.failure,
                search={**search, "detail": failed.detail[:PROBLEMS_KEPT]},
                trouble=_trouble(failed),
            )
        case other:
            raise AssertionError(f"{other} is no outcome of a search page")


def position_json(position: Any) -> dict[str, Any]:
    return {
        "url": position.url,
        "template": position.template,
        "page": position.page,
        "seen": position.seen,
        "found": position.found,
        "pages": list(position.pages),
    }


def _target(due: ScrapeDue, attempt: Attempt, target: Present, tally: Tally) -> Settled:
    at = attempt.at
    well = {"id": target.id, "checked_hint": target.hint, "checked_at": at.isoformat()}
    match attempt.outcome:
        case Content() as content:
            return _content(due, attempt, target, content, tally, well)
        case Unmodified():
            row, event = {**well, "did": "unmodified"}, _unchanged(due, attempt, target, tally)
            return Settled(outcome="unchanged", target=row, event=event)
        case Gone() as gone:
            row = {"id": target.id, "did": "gone", "at": at.isoformat(), "reason": gone.reason}
            return Settled(outcome="gone", target=row, event=_gone(due, attempt, target, gone, tally))
        case Duplicate() as duplicate:
            return _duplicate(due, attempt, target, duplicate, tally, well)
        case Failed() as failed:
            return _failed(due, attempt, target, failed, tally)
        case other:
            raise AssertionError(f"{other} is no outcome of a target")


def _content(
    due: ScrapeDue, attempt: Attempt, target: Present, content: Content, tally: Tally, well: Mapping[str, Any]
) -> Settled:
    changed = target.is_gone or target.sha256 is None or not content.same
    row = {
        **well,
        "did": "content",
        "sha256": content.sha256 if changed else target.sha256,
        "size_bytes": content.size_bytes,
        "content_hash": content.content_hash,
        "rules": content.rules,
        "etag": content.etag,
        "last_modified": content.last_modified,
        "content_type": content.content_type,
        "changed": changed,
    }
    if not changed:
        return Settled(outcome="unchanged", target=row, event=_unchanged(due, attempt, target, tally))
    outcome = "new" if target.sha256 is None else "reappeared" if target.is_gone else "changed"
    return Settled(outcome=outcome, target=row, event=_stored(due, attempt, target, content, tally))


def _duplicate(
    due: ScrapeDue, attempt: Attempt, target: Present, duplicate: Duplicate, tally: Tally, well: Mapping[str, Any]
) -> Settled:
    row = {**well, "did": "duplicate", "of": duplicate.of}
    if target.sha256 and not target.is_gone:
        # Its records are the other's now.
        moved = Gone("duplicate", f"its address leads to {duplicate.of}")
        return Settled(outcome="gone", target=row, event=_gone(due, attempt, target, moved, tally))
    return Settled(outcome="unchanged", target=row, event=_unchanged(due, attempt, target, tally, duplicate.of))


def _failed(due: ScrapeDue, attempt: Attempt, target: Present, failed: Failed, tally: Tally) -> Settled:
    failures = target.failures + 1
    row = {
        "id": target.id,
        "did": "failed",
        "failures": failures,
        "failure": failed.failure,
        "next_check_at": policy.next_check(attempt.retry, failures, target.item, attempt.at).isoformat(),
        "given_up": policy.gives_up(attempt.retry, failures),
        "checked_hint": target.hint,
    }
    event = DocumentFailed(
        source=due.source,
        run=due.run,
        item=due.item,
        name=target.name,
        url=due.url,
        failure=failed.failure,
        detail=failed.detail,
        attempts=tally.attempts,
        requests=tally.requests,
        bytes_received=tally.bytes_received,
        failed_at=attempt.at,
    )
    return Settled(outcome="failed", failure=failed.failure, target=row, event=event, trouble=_trouble(failed))


def _stored(due: ScrapeDue, attempt: Attempt, target: Present, content: Content, tally: Tally) -> Event:
    return DocumentStored(
        source=due.source,
        sha256=content.sha256,
        size_bytes=content.size_bytes,
        name=target.name,
        path=target.path,
        run=due.run,
        received_at=attempt.at,
        item=due.item,
        previous_sha256=target.sha256 or "",
        requests=tally.requests,
        bytes_received=tally.bytes_received,
        context=target.context | ({CONTENT_TYPE: content.content_type} if content.content_type else {}),
        reappeared=target.is_gone and target.sha256 is not None,
    )


def _unchanged(due: ScrapeDue, attempt: Attempt, target: Present, tally: Tally, duplicate_of: str = "") -> Event:
    return DocumentUnchanged(
        source=due.source,
        sha256=target.sha256 or (attempt.page.sha256 if attempt.page else None) or "",
        size_bytes=target.size_bytes,
        name=target.name,
        path=target.path,
        run=due.run,
        duplicate_of=duplicate_of or target.name,
        received_at=attempt.at,
        item=due.item,
        requests=tally.requests,
        bytes_received=tally.bytes_received,
    )


def _gone(due: ScrapeDue, attempt: Attempt, target: Present, gone: Gone, tally: Tally) -> Event:
    return DocumentGone(
        source=due.source,
        run=due.run,
        item=due.item,
        name=target.name,
        url=target.path,
        reason=gone.reason,
        detail=gone.detail,
        sha256=target.sha256 or "",
        requests=tally.requests,
        bytes_received=tally.bytes_received,
        gone_at=attempt.at,
    )
