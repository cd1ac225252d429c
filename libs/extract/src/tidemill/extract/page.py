"""A page as it came, and the parts of it that rules look at; each is parsed when a rule needs it, and once."""

from codecs import BOM_UTF8
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

from lxml import etree
from selectolax.lexbor import LexborHTMLParser, LexborNode

from tidemill.extract.decoding import decode
from tidemill.extract.embedded import read_json, read_variable
from tidemill.extract.labels import Labelled, Words, labelled, words
from tidemill.extract.model import Json
from tidemill.extract.nodes import text_of, too_hard
from tidemill.extract.structured import Thing, json_ld, micro_data

NO_CONTEXT: Mapping[str, str] = MappingProxyType({})
_EMPTY = "<html><head></head><body></body></html>"


class Part:
    """An element of a page, or a JSON value: where a rule looks. `node` is None where there is no HTML."""

    def __init__(self, node: LexborNode | None, value: Json = None, context: Mapping[str, str] = NO_CONTEXT) -> None:
        self.node = node
        self.value = value
        self.context = context
        """What the place that linked to the page said of it; rules `carried` read it."""
        self._embedded: dict[tuple[str, str | None], Json] = {}

    @cached_property
    def json_ld(self) -> list[Thing]:
        return [] if self.node is None else json_ld(self.node)

    @cached_property
    def micro_data(self) -> list[Thing]:
        return [] if self.node is None else micro_data(self.node)

    @cached_property
    def labelled(self) -> Labelled:
        return {} if self.node is None else labelled(self.node)

    @cached_property
    def words(self) -> Words:
        return {} if self.node is None else words(self.node)

    @cached_property
    def folded_html(self) -> str:
        return self.html.lower()

    @cached_property
    def text(self) -> str:
        """What is seen of it."""
        return "" if self.node is None else text_of(self.node)

    @cached_property
    def html(self) -> str:
        return "" if self.node is None else self.node.html or ""

    @cached_property
    def scripts(self) -> list[str]:
        """The texts of its scripts."""
        return [] if self.node is None else [text for script in self.node.css("script") if (text := script.text())]

    @cached_property
    def lxml(self) -> Any:
        """The same element as lxml sees it, for XPath; None where there is nothing."""
        html = self.html
        if not html.strip():
            return None
        parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_pis=True)
        try:
            return etree.fromstring(html.encode("utf-8", "replace"), parser)
        except (etree.XMLSyntaxError, ValueError):
            return None

    def json_of_variable(self, variable: str) -> Json:
        """What its scripts give to a variable; None where they do not."""
        key = (variable, None)
        if key not in self._embedded:
            self._embedded[key] = read_variable(self.scripts, variable)
        return self._embedded[key]

    def json_of_element(self, selector: str, attribute: str | None) -> Json:
        """The JSON in its first element that fits, or in an attribute of that; None where there is none."""
        key = (selector, attribute or "")
        if key not in self._embedded:
            node = self.below(selector).node
            text = "" if node is None else node.attributes.get(attribute) if attribute else node.text()
            self._embedded[key] = read_json(text or "")
        return self._embedded[key]

    def below(self, selector: str) -> "Part":
        """Its first element that fits; without HTML where there is none."""
        return Part(None if self.node is None else self.node.css_first(selector))


class Page(Part):
    """One answer of a server: HTML or JSON, never parsed twice. Nothing about it raises, whatever the bytes."""

    def __init__(
        self,
        source: str,
        *,
        url: str = "",
        status: int = 200,
        content_type: str = "",
        encoding: str = "utf-8",
        utf_8: bytes | None = None,
        context: Mapping[str, str] = NO_CONTEXT,
    ) -> None:
        """`utf_8`: the same as bytes, where they are at hand; it saves encoding them for the parser."""
        self.source = source
        """The text as it came."""
        self.url = url
        self.status = status
        self.encoding = encoding
        self.unread: str | None = None
        """Why the page could not be parsed."""
        self.is_json = _is_json(source, content_type)
        self._tree: LexborHTMLParser | None = None
        value = None
        if self.is_json:
            value = read_json(source)
            self.unread = "it is no JSON" if value is None and source.strip() != "null" else None
        else:
            self.unread = too_hard(source)
            self._tree = LexborHTMLParser(_EMPTY if self.unread or not source.strip() else utf_8 or source)
        super().__init__(None if self._tree is None else self._tree.root, value, context)

    @classmethod
    def of_bytes(
        cls,
        body: bytes,
        *,
        url: str = "",
        status: int = 200,
        headers: Mapping[str, str] = MappingProxyType({}),
        context: Mapping[str, str] = NO_CONTEXT,
    ) -> "Page":
        """Of the bytes as they were received (unpacked), and the headers they came with."""
        content_type = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
        source, encoding = decode(body, content_type)
        utf_8 = body if encoding == "utf-8" and not body.startswith(BOM_UTF8) else None
        return cls(
            source,
            url=url,
            status=status,
            content_type=content_type,
            encoding=encoding,
            utf_8=utf_8,
            context=context,
        )

    @cached_property
    def title(self) -> str:
        node = None if self.node is None else self.node.css_first("title")
        return "" if node is None else text_of(node)

    @cached_property
    def base_url(self) -> str:
        """What relative links are relative to."""
        node = None if self.node is None else self.node.css_first("base[href]")
        return self.url if node is None else node.attributes.get("href") or self.url


def _is_json(source: str, content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("application/json", "text/json") or kind.endswith("+json"):
        return True
    return kind not in ("text/html", "application/xhtml+xml") and source.lstrip("\ufeff \t\r\n")[:1] in ("{", "[")
