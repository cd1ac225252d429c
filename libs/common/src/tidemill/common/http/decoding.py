"""Content codings, undone piece by piece: a bomb is noticed before it is in memory."""

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from tidemill.common.http.errors import NotWhatItShouldBe, Truncated

PIECE_BYTES = 64 << 10
"""What comes out at once, at most; a few MB of zstd, which cannot be stopped within a block."""
_ZSTD_INPUT_BYTES = 256
_ZSTD_WINDOW_BYTES = 8 << 20
"""As browsers allow (RFC 9659)."""


class Decoder(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]:
        """What comes out of some more bytes, in pieces. Raises NotWhatItShouldBe."""

    def end(self) -> None:
        """To be called behind the last byte. Raises Truncated when the coding says that there is more."""


class _Plain:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def end(self) -> None:
        pass


class _Zlib:
    """gzip, also in several members, and deflate with or without its wrapper."""

    def __init__(self, *, gzip: bool) -> None:
        self._wbits = 31 if gzip else 15
        self._gzip = gzip
        self._inflate = zlib.decompressobj(self._wbits)
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        if data and not self._begun:
            self._begun = True
            # Many servers say deflate and send it without the wrapper of zlib; its first byte is 0x78 or alike.
            if not self._gzip and data[0] & 0x0F != 8:
                self._inflate = zlib.decompressobj(-15)
        while data:
            if self._inflate.eof:
                if not self._gzip or data[0] != 0x1F:
                    return  # Padding behind the end.
                self._inflate = zlib.decompressobj(self._wbits)
            try:
                piece = self._inflate.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise NotWhatItShouldBe(f"the compressed content is damaged: {error}") from error
            if piece:
                yield piece
            data = self._inflate.unconsumed_tail or self._inflate.unused_data
            if not data and len(piece) == PIECE_BYTES:
                # There may be more inside, although all input is taken.
                yield from self._rest()

    def _rest(self) -> Iterator[bytes]:
        while not self._inflate.eof and (piece := self._inflate.decompress(b"", PIECE_BYTES)):
            yield piece

    def end(self) -> None:
        if self._begun and not self._inflate.eof:
            raise Truncated("the compressed content ends in the middle")


class _Brotli:
    def __init__(self) -> None:
        import brotli

        self._error: type[Exception] = brotli.error
        self._inflate = brotli.Decompressor()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._begun = self._begun or bool(data)
        while not self._inflate.is_finished():
            try:
                piece = self._inflate.process(data, output_buffer_limit=PIECE_BYTES)
            except self._error as error:
                raise NotWhatItShouldBe("the compressed content is damaged") from error
            if piece:
                yield piece
            elif self._inflate.can_accept_more_data():
                return
            data = b""

    def end(self) -> None:
        if self._begun and not self._inflate.is_finished():
            raise Truncated("the compressed content ends in the middle")


class _Zstd:
    def __init__(self) -> None:
        import zstandard

        self._error: type[Exception] = zstandard.ZstdError
        self._open: Callable[[], zstandard.ZstdDecompressionObj] = lambda: zstandard.ZstdDecompressor(
            max_window_size=_ZSTD_WINDOW_BYTES
        ).decompressobj()
        self._inflate = self._open()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._begun = self._begun or bool(data)
        for start in range(0, len(data), _ZSTD_INPUT_BYTES):
            part = data[start : start + _ZSTD_INPUT_BYTES]
            while part:
                if self._inflate.eof:
                    self._inflate = self._open()
                try:
                    piece = self._inflate.decompress(part)
                except self._error as error:
                    raise NotWhatItShouldBe(f"the compressed content is damaged: {error}") from error
                if piece:
                    yield piece
                part = self._inflate.unused_data

    def end(self) -> None:
        if self._begun and not self._inflate.eof:
            raise Truncated("the compressed content ends in the middle")


_DECODERS: dict[str, Callable[[], Decoder]] = {
    "gzip": lambda: _Zlib(gzip=True),
    "x-gzip": lambda: _Zlib(gzip=True),
    "deflate": lambda: _Zlib(gzip=False),
    "br": _Brotli,
    "zstd": _Zstd,
}

ACCEPTED = "gzip, deflate, br, zstd"


def open_decoder(encodings: list[str]) -> Decoder:
    """Raises NotWhatItShouldBe for codings that nobody asked for, and for several on top of each other."""
    if not encodings:
        return _Plain()
    if len(encodings) > 1 or encodings[0] not in _DECODERS:
        raise NotWhatItShouldBe(f"the content is encoded as {', '.join(encodings)[:100]}, which nobody asked for")
    return _DECODERS[encodings[0]]()
