"""The rules of a source file about a page: which fields it has, and where each of them stands."""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from lxml import etree
from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, model_validator

from tidemill.extract.errors import InvalidRule
from tidemill.extract.hooks import hook_of
from tidemill.extract.labels import Wanted
from tidemill.extract.model import Json, Model, Pattern, Text, pattern_of
from tidemill.extract.nodes import checked_css
from tidemill.extract.paths import path_of
from tidemill.extract.types import CODES, Form, Kind, Unreadable, known_locale, parse

Css = Annotated[Text, AfterValidator(checked_css)]


@lru_cache(maxsize=1024)
def xpath_of(text: str) -> etree.XPath:
    """The compiled XPath 1.0. Raises InvalidRule."""
    try:
        return etree.XPath(text, regexp=False)
    except etree.XPathSyntaxError as error:
        raise InvalidRule(f"{text} is no XPath: {error}") from None


def _checked_xpath(text: str) -> str:
    xpath_of(text)
    return text


def _checked_path(text: str) -> str:
    path_of(text)
    return text


def _checked_hook(name: str) -> str:
    hook_of(name)
    return name


def _checked_locale(locale: str) -> str:
    if not known_locale(locale):
        raise InvalidRule(f"nobody here knows how numbers are written in {locale}; take fi, de-CH, en or auto")
    return locale


def _checked_currency(currency: str) -> str:
    if currency not in CODES:
        raise InvalidRule(f"{currency} is no currency that is known here: {', '.join(sorted(CODES))}")
    return currency


XPath = Annotated[Text, AfterValidator(_checked_xpath)]
JsonPath = Annotated[Text, AfterValidator(_checked_path)]
Hook = Annotated[Text, AfterValidator(_checked_hook)]
Locale = Annotated[str, AfterValidator(_checked_locale)]
Currency = Annotated[str, AfterValidator(_checked_currency)]
Variable = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
GROUP = re.compile(r"\\([1-9])")
"""A group in a replacement."""
Box = tuple[float, float, float, float]


def _how_many(value: Any) -> str:
    return "several" if isinstance(value, (list, tuple)) else "one"


def _as_tuple(value: Any) -> tuple[Any, ...]:
    if value == ():
        raise InvalidRule("is an empty list; write at least one")
    return value if isinstance(value, tuple) else (value,)


def _any_of(schema: dict[str, Any]) -> None:
    schema["anyOf"] = schema.pop("oneOf")


if TYPE_CHECKING:
    Texts = tuple[str, ...]
    JsonPaths = tuple[str, ...]
else:
    # Written as one or as a list, read as a tuple.
    def _one_or_several(each: Any) -> Any:
        return Annotated[
            Annotated[each, Tag("one")] | Annotated[tuple[each, ...], Tag("several")],
            Discriminator(_how_many),
            AfterValidator(_as_tuple),
            Field(json_schema_extra=_any_of),
        ]

    Texts = _one_or_several(Text)
    JsonPaths = _one_or_several(JsonPath)


def _text_or_rule(value: Any) -> str:
    return "text" if isinstance(value, str) else "rule"


class Reading(Model):
    """How what was found becomes a value. A rule says it for itself, a field for all of its rules."""

    match: Pattern | None = None
    """Regular expression: of the text only this part is kept, the first group where it has one."""
    strip: Texts = ()
    """Words that are taken away at the beginning and at the end, whatever their case."""
    replace: dict[Pattern, str] = Field(default_factory=dict)
    """Regular expressions with what to put in their place, one after the other; `\\1` is the first group."""
    map: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    """Texts with the values they stand for, whatever their case; `null` is: there is none, and that is all right."""
    locale: Locale | None = None
    """How numbers and dates are written: `fi`, `de-CH`, `en-US` …; `plain` as programs do; `auto` (without any) takes
    only what means the same everywhere."""
    currency: Currency | None = None
    """Of amounts that are printed without one, or with `$` or `kr`: `EUR`."""
    unit: Literal["m2", "sqft", "a", "ha", "km2", "acre"] | None = None
    """Of areas that are printed without one."""
    order: Literal["dmy", "mdy", "ymd", "lat-lon", "lon-lat"] | None = None
    """Of day, month and year in a date, or of the two coordinates."""

    @model_validator(mode="after")
    def _groups_exist(self) -> "Reading":
        for pattern, replacement in self.replace.items():
            groups = pattern_of(pattern).groups
            wrong = [group for group in GROUP.findall(replacement) if int(group) > groups]
            if wrong:
                raise InvalidRule(f"replace: {pattern} has {groups} groups, and `\\{wrong[0]}` is none of them")
        return self

    @cached_property
    def meanings(self) -> Mapping[str, Json]:
        return {text.casefold(): value for text, value in self.map.items()}


KINDS: Mapping[str, tuple[str, ...]] = {
    "css": ("contains", "text", "attribute", "within", "pick", "join"),
    "label": ("rows", "labels", "values", "attribute", "within", "pick", "join"),
    "table": ("rows", "labels", "values", "within"),
    "xpath": ("pick", "join"),
    "jsonld": ("of", "pick", "join"),
    "microdata": ("of", "within", "pick", "join"),
    "jsonpath": ("script", "variable", "attribute", "pick", "join"),
    "regex": ("search", "within", "pick", "join"),
    "concat": ("join",),
    "carried": (),
    "python": ("pick", "join"),
    "const": (),
}
"""Kinds of rules, each with the keys that belong to it alone."""
FROM_PROGRAMS = ("jsonld", "microdata", "jsonpath", "carried")
"""Kinds whose texts may be written by a program: `1250.5` in a place where the comma is decimal."""
_OWN = frozenset(key for keys in KINDS.values() for key in keys)


class Rule(Reading):
    """Where a value stands: exactly one kind of rule (`css`, `label`, `table`, `xpath`, `jsonld`, `microdata`,
    `jsonpath`, `regex`, `concat`, `carried`, `python`, `const`), and what belongs to it."""

    css: Css | None = None
    """CSS selector: the text of the first element that fits. `:has()`, `:is()`, `:not()` and `:nth-child()` work."""
    label: Texts | None = None
    """The text of a label, or several: the value beside it, be it `dt` and `dd`, cells of a row, the row under a
    heading, or anything that stands behind the words. Case, spaces and a colon do not matter; `Wohnfläche*` is a
    beginning."""
    table: Literal[True] | None = None
    """All labels with their values, as one object; for `type: json`."""
    xpath: XPath | None = None
    """XPath 1.0. Slower than the others, because the page is parsed a second time."""
    jsonld: JsonPath | None = None
    """Path within an object of JSON-LD, wherever in the page it stands: `offers.price`. Lists are gone through. Of
    several objects the first one counts that has it."""
    microdata: JsonPath | None = None
    """Path within an item of microdata: `offers.price`. Of several items the first one counts that has it, be it one
    that the page only recommends: `within` keeps to the right one."""
    jsonpath: JsonPath | None = None
    """Path in the JSON of an API, or of a script of the page: `$.props.listing.price`, `$.images[*].url`,
    `$.facts[?(@.name == 'rooms')].value`, `$..price`."""
    regex: Pattern | None = None
    """Regular expression: its first group, or all of what it finds."""
    concat: "tuple[Concatenated, ...] | None" = None
    """Rules and texts whose results are put together; what is not there is left out."""
    carried: Variable | None = None
    """What the entry that led to the page said, by its name in `search.carry`: what stands on search pages alone."""
    python: Hook | None = None
    """The name of a function that an installed package brings (entry point `tidemill.rules`), for what YAML does not
    reach: it is given the page, or the item, and returns a list of what it finds."""
    const: str | int | float | bool | None = None
    """This value."""

    contains: str | None = None
    """Only elements with this text in them, whatever its case."""
    text: Literal["all", "own"] = "all"
    """`own` leaves out the text of elements within."""
    attribute: Text | None = None
    """The value of this attribute instead of the text; `html` is the inner HTML."""
    within: Css | None = None
    """Look only inside the first element that fits this selector."""
    rows: Css | None = None
    """Where labels stand otherwise: what holds one label and its value. Needs `labels` and `values`."""
    labels: Css | None = None
    """The label in each of the `rows`."""
    values: Css | None = None
    """The value in each of the `rows`."""
    of: Texts = ()
    """Types of which the object must be one: `Apartment`."""
    script: Css | None = None
    """The element that holds the JSON: `script#__NEXT_DATA__`. With `attribute`: in that attribute of it."""
    variable: Text | None = None
    """The variable of a script that the JSON is given to: `window.__STATE__`."""
    search: Literal["text", "html", "scripts"] = "text"
    """Where a `regex` looks: in what is seen, in the source, in each script."""
    pick: Literal["first", "last", "all"] | int = "first"
    """Which, when there are several; a number counts from 0. A field with `many` takes all of them."""
    join: str | None = None
    """Put all of them together, with this between them."""

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> "Rule":
        given = [kind for kind in KINDS if kind in self.model_fields_set and getattr(self, kind) is not None]
        if len(given) != 1:
            raise InvalidRule(f"has {' and '.join(given) or 'no kind of rule'}; write one of {', '.join(KINDS)}")
        wrong = sorted((self.model_fields_set & _OWN) - set(KINDS[given[0]]))
        if wrong:
            raise InvalidRule(
                f"{wrong[0]} does not belong to {given[0]}. Valid keys beside it: "
                f"{', '.join(sorted((*KINDS[given[0]], *Reading.model_fields)))}"
            )
        custom = [key for key in ("rows", "labels", "values") if getattr(self, key) is not None]
        if custom and len(custom) < 3:
            raise InvalidRule(f"has {' and '.join(custom)}; rows, labels and values belong together")
        if self.script is not None and self.variable is not None:
            raise InvalidRule("has script and variable; write one of them")
        if self.kind == "jsonpath" and self.attribute is not None and self.script is None:
            raise InvalidRule("attribute needs script: the element that has it")
        return self

    @cached_property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @cached_property
    def wanted(self) -> Wanted:
        """Of a `label`."""
        return Wanted(self.label or ())

    @cached_property
    def name(self) -> str:
        """For people: `label: Velaton hinta`."""
        value = getattr(self, self.kind)
        if self.kind == "concat":
            value = " + ".join(part if isinstance(part, str) else part.name for part in self.concat or ())
        elif self.kind == "label":
            value = " | ".join(self.label or ())
        of = f"{' | '.join(self.of)}." if self.of else ""
        return f"{self.kind}: {of}{value}"


if TYPE_CHECKING:
    Concatenated = str | Rule
else:
    Concatenated = Annotated[
        Annotated[str, Tag("text")] | Annotated[Rule, Tag("rule")],
        Discriminator(_text_or_rule),
        Field(json_schema_extra=_any_of),
    ]
Rule.model_rebuild()

if TYPE_CHECKING:
    Rules = tuple[Rule, ...]
else:
    Rules = _one_or_several(Rule)


def carried_by(rule: Rule) -> Iterator[str]:
    """Names that a rule takes from the entry that led to the page."""
    if rule.carried is not None:
        yield rule.carried
    for inner in rule.concat or ():
        if isinstance(inner, Rule):
            yield from carried_by(inner)


class FieldRules(Reading):
    """One field of a record."""

    from_: Annotated[Rules, Field(alias="from")]
    """The rule, or several: the first one that gives a value counts."""
    type: Kind = "text"
    """What the value is. Money is an amount with its currency, an area is in square metres."""
    required: bool = False
    """A page without this field is no success: it is blocked, gone, another one, or has a new layout."""
    default: Json = None
    """The value where there is none; written as on the page."""
    many: bool = False
    """A list of all values instead of the first."""
    volatile: bool = False
    """Changes without anything having changed (counters of views), so it is no part of the content hash."""
    box: Box | None = None
    """Of coordinates: south, west, north and east of where they must lie."""

    @cached_property
    def _forms(self) -> dict[str, tuple[Form, ...]]:
        return {}

    def forms(self, locale: str) -> tuple[Form, ...]:
        """How each of its rules reads, on a page of this locale."""
        if locale not in self._forms:
            self._forms[locale] = tuple(form_of(locale, self, rule) for rule in self.from_)
        return self._forms[locale]

    @model_validator(mode="after")
    def _default_is_readable(self) -> "FieldRules":
        if self.default is not None:
            for value in self.default if self.many and isinstance(self.default, list) else [self.default]:
                try:
                    parse(value, self.type, form_of("auto", self, None))
                except Unreadable as error:
                    raise InvalidRule(f"default is no {self.type}: {error}") from None
        if self.required and self.default is not None:
            raise InvalidRule("is required and has a default; write one of the two")
        return self


def form_of(locale: str, field: FieldRules, rule: Rule | None) -> Form:
    """What the rule says, else the field, else the page."""
    one: Reading = field if rule is None else rule
    return Form(
        locale=one.locale or field.locale or locale,
        currency=one.currency or field.currency,
        unit=one.unit or field.unit,
        order=one.order or field.order,
        box=field.box,
        from_program=rule is not None and rule.locale is None and rule.kind in FROM_PROGRAMS,
    )


class Sign(Model):
    """What tells the state of a page; of several keys all must hold."""

    text: Text | None = None
    """These words are seen, whatever their case."""
    title: Pattern | None = None
    """The title fits this regular expression."""
    css: Css | None = None
    """There is such an element."""
    html: Pattern | None = None
    """The source of the page fits this regular expression."""
    url: Pattern | None = None
    """The address of the answer, after redirects, fits this regular expression."""
    jsonpath: JsonPath | None = None
    """The answer is JSON and has something there: `$[?(@.code == 'gone')]`."""
    status: int | None = None
    """The HTTP status."""

    @model_validator(mode="after")
    def _says_something(self) -> "Sign":
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise InvalidRule(f"says nothing; write one of {', '.join(type(self).model_fields)}")
        return self


class StateRules(Model):
    """Pages that answer, and are not what was asked for."""

    gone: tuple[Sign, ...] = ()
    """Removed, sold, let: `{text: Kohde on poistunut}`."""
    blocked: tuple[Sign, ...] = ()
    """A wall against programs, or a CAPTCHA."""
    soft_404: tuple[Sign, ...] = ()
    """`Not found`, with the status of success."""
    shell: tuple[Sign, ...] = ()
    """A page that only JavaScript fills."""
    known_signs: bool = True
    """Whether the signs that many sites share are looked for, too; only on pages that lack a required field."""


class Items(Model):
    """What holds one record each, on a page with many; the rules of the fields look inside. One of the two."""

    css: Css | None = None
    """Elements, each of which holds one."""
    jsonpath: JsonPaths | None = None
    """In the answer of an API; of several paths the first one counts that finds anything."""

    @model_validator(mode="after")
    def _is_one(self) -> "Items":
        if (self.css is None) == (self.jsonpath is None):
            raise InvalidRule("has both or neither; write one of css, jsonpath")
        return self


class PageRules(Model):
    """What is on a page: its fields, and the states it may be in."""

    locale: Locale = "auto"
    """How numbers and dates are written, where neither rule nor field says otherwise."""
    fields: Annotated[dict[Variable, FieldRules], Field(min_length=1)]
    """Names of the record's fields, each with where it stands."""
    items: Items | None = None
    """Without it the page is one record."""
    states: StateRules = StateRules()

    @cached_property
    def required(self) -> tuple[str, ...]:
        return tuple(name for name, field in self.fields.items() if field.required)

    @cached_property
    def carried(self) -> frozenset[str]:
        """Names of what entries of search pages have to say for these fields."""
        return frozenset(name for field in self.fields.values() for rule in field.from_ for name in carried_by(rule))

    @cached_property
    def stable(self) -> frozenset[str]:
        """The fields that make the content hash."""
        return frozenset(name for name, field in self.fields.items() if not field.volatile)
