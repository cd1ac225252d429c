"""The rule engine of source files: pages of HTML or JSON to typed fields, pure."""

from tidemill.extract.errors import InvalidRule, InvalidUrl, Unreadable
from tidemill.extract.extract import Extracted, Record, extract, extract_items, find_text, find_texts, plain
from tidemill.extract.finding import TooSlow
from tidemill.extract.links import Link, Position, Step, Stop, advance, all_seen, begin, find_links
from tidemill.extract.page import Page, Part
from tidemill.extract.rules import FieldRules, Items, PageRules, Rule, Sign, StateRules
from tidemill.extract.search import Paging, SearchRules, Start, starts
from tidemill.extract.states import Judgement, State, Why, judge
from tidemill.extract.types import Coordinates, Form, Money, parse, parse_number
from tidemill.extract.url import UrlRules, canonical
from tidemill.extract.version import version

__all__ = [
    "Coordinates",
    "Extracted",
    "FieldRules",
    "Form",
    "InvalidRule",
    "InvalidUrl",
    "Items",
    "Judgement",
    "Link",
    "Money",
    "Page",
    "PageRules",
    "Paging",
    "Part",
    "Position",
    "Record",
    "Rule",
    "SearchRules",
    "Sign",
    "Start",
    "State",
    "StateRules",
    "Step",
    "Stop",
    "TooSlow",
    "Unreadable",
    "UrlRules",
    "Why",
    "advance",
    "all_seen",
    "begin",
    "canonical",
    "extract",
    "extract_items",
    "find_links",
    "find_text",
    "find_texts",
    "judge",
    "parse",
    "parse_number",
    "plain",
    "starts",
    "version",
]
