from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.common.config.downloading import Index
from tidemill.downloader.links import find_files

AT = "https://paper.example/issues/index.html"


def found(page: str, **index: Any) -> list[str]:
    wanted = Index.model_validate({"url": AT, "links": "*.pdf", "newest": False, **index})
    return [each.url.removeprefix("https://paper.example") for each in find_files(page.encode(), AT, wanted)]


def links(*hrefs: str) -> str:
    return "".join(f"<a href='{href}'>x</a>" for href in hrefs)


def test_links_of_the_page_become_addresses_each_once() -> None:
    page = links("1.pdf", "/2.pdf", "https://paper.example/issues/1.pdf#page=3", "3.txt", "mailto:x@y.z", "http://[")
    assert found(page) == ["/2.pdf", "/issues/1.pdf"]


def test_the_base_of_the_page_counts() -> None:
    assert found(f"<base href='/old/'>{links('1.pdf')}") == ["/old/1.pdf"]


def test_a_pattern_with_a_slash_is_about_the_path() -> None:
    assert found(links("/a/1.pdf", "/b/2.pdf"), links="a/*.pdf") == ["/a/1.pdf"]


def test_numbers_in_the_name_tell_new_from_old() -> None:
    page = links("mix-2026-9.pdf", "mix-2026-30.pdf", "mix-2025-57.pdf")
    assert found(page, newest=True) == ["/issues/mix-2026-30.pdf"]
    assert found(page) == ["/issues/mix-2026-30.pdf", "/issues/mix-2026-9.pdf", "/issues/mix-2025-57.pdf"]


def test_of_equal_ones_the_first_on_the_page_is_the_newest() -> None:
    assert found(links("b.pdf", "a.pdf"), newest=True) == ["/issues/b.pdf"]


def test_an_order_may_say_what_the_numbers_mean() -> None:
    page = links("31-12-2025.pdf", "02-01-2026.pdf", "terms.pdf")
    order = r"(?P<day>\d+)-(?P<month>\d+)-(?P<year>\d+)"
    assert found(page, order=order) == ["/issues/02-01-2026.pdf", "/issues/31-12-2025.pdf"]


def test_an_order_takes_the_issue_within_the_year() -> None:
    page = links("2026-9.pdf", "2026-10.pdf", "2025-99.pdf")
    assert found(page, order=r"(?P<year>\d+)-(?P<issue>\d+)", newest=True) == ["/issues/2026-10.pdf"]


@pytest.mark.parametrize("page", ["", "<html>", "<a>", "<a href>", "%PDF-1.7", "<a href='\x00.pdf'>"])
def test_a_page_without_files_has_none(page: str) -> None:
    assert found(page, links="*.zip") == []


@given(st.binary(max_size=400))
def test_any_page_can_be_read(page: bytes) -> None:
    find_files(b"<a href='" + page, AT, Index(url=AT, links="*"))
