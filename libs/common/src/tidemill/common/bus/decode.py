"""From a message to the event it states."""

from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from tidemill.common.events import Event

E = TypeVar("E", bound=Event)


class Unreadable(Exception):
    """The payload is not this event; the text says where."""


def parse_event(event: type[E], subject: str, payload: bytes) -> E:
    """Names that are part of the subject need not be repeated in the payload, and an empty payload is `{}`, so that
    `nats pub tidemill.trigger.oikotie ''` works. Raises Unreadable."""
    try:
        return event.model_validate_json(payload)
    except ValidationError:
        pass
    try:
        given = from_json(payload or b"{}")
        named = {**subject_names(event, subject), **given} if isinstance(given, dict) else given
        return event.model_validate_json(to_json(named))
    except ValidationError as error:
        raise Unreadable(describe_invalid(error)) from error
    except ValueError as error:
        raise Unreadable(f"not JSON: {error}") from error


def subject_names(event: type[Event], subject: str) -> dict[str, str]:
    """What the subject says: `{lane}` and `{source}` of `document.stored.{lane}.{source}`."""
    pattern, tokens = event.subject.split("."), subject.split(".")
    if len(pattern) != len(tokens):
        return {}
    return {name[1:-1]: token for name, token in zip(pattern, tokens, strict=True) if name.startswith("{")}


def describe_invalid(error: ValidationError) -> str:
    problems = (f"{'.'.join(map(str, each['loc'])) or 'payload'}: {each['msg']}" for each in error.errors())
    return "; ".join(list(problems)[:5])
