"""Decoding: whole for every way of cutting, bounded for bombs, and loud about what is damaged."""

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.common.http import NotWhatItShouldBe, Truncated
from tidemill.common.http.decoding import open_decoder


def raw_deflate(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(data) + deflate.flush()


ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: brotli.compress(data, quality=5),
    "zstd": zstandard.ZstdCompressor().compress,
}
EVERY = pytest.mark.parametrize("encoding", ENCODE)


def decode(encoding: str, data: bytes, step: int = 1000) -> bytes:
    decoder = open_decoder([encoding])
    parts = [part for start in range(0, len(data), step) for part in decoder.feed(data[start : start + step])]
    decoder.end()
    return b"".join(parts)


@EVERY
@settings(deadline=None)
@given(data=st.binary(max_size=3000), step=st.integers(1, 500))
def test_what_was_encoded_comes_back_however_it_is_cut(encoding: str, data: bytes, step: int) -> None:
    assert decode(encoding, ENCODE[encoding](data), step) == data


def test_deflate_comes_back_without_its_wrapper_too() -> None:
    assert decode("deflate", raw_deflate(b"tides " * 1000)) == b"tides " * 1000


def test_several_members_are_one_content_and_padding_behind_them_is_none() -> None:
    assert decode("gzip", gzip.compress(b"one ") + gzip.compress(b"two") + b"\0\0") == b"one two"
    assert decode("zstd", ENCODE["zstd"](b"one ") + ENCODE["zstd"](b"two"), 7) == b"one two"


@EVERY
def test_a_bomb_comes_out_in_small_pieces(encoding: str) -> None:
    bomb = ENCODE[encoding](bytes(40 << 20))
    assert len(bomb) < 100_000
    largest = total = 0
    for piece in open_decoder([encoding]).feed(bomb):
        largest = max(largest, len(piece))
        total += len(piece)
    assert total == 40 << 20
    assert largest <= 16 << 20


@EVERY
def test_an_end_in_the_middle_is_noticed(encoding: str) -> None:
    with pytest.raises(Truncated):
        decode(encoding, ENCODE[encoding](bytes(range(256)) * 50)[:-5])


@EVERY
def test_damage_is_noticed(encoding: str) -> None:
    with pytest.raises((NotWhatItShouldBe, Truncated)):
        decode(encoding, b"\x1f\x8b\x08 this is not compressed at all, whatever its header says")


@EVERY
@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(encoding: str, data: bytes) -> None:
    with suppress(NotWhatItShouldBe, Truncated):
        decode(encoding, data)


def test_a_coding_that_nobody_asked_for_is_refused() -> None:
    with pytest.raises(NotWhatItShouldBe, match="compress, which nobody asked for"):
        open_decoder(["compress"])
    with pytest.raises(NotWhatItShouldBe):
        open_decoder(["gzip", "gzip"])


def test_no_coding_changes_nothing_and_an_empty_body_is_no_damage() -> None:
    assert list(open_decoder([]).feed(b"abc")) == [b"abc"]
    for encoding in ENCODE:
        open_decoder([encoding]).end()
