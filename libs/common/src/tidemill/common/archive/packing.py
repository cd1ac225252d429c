"""Hash and compress what passes by, in slices; unpack and verify on the way back."""

import hashlib
from collections.abc import Callable
from typing import IO

import zstandard

SLICE = 1 << 20
"""Bytes for one turn in a thread: about 1 ms to hash, 7 ms to compress."""
SAMPLE = 128 << 10
"""From so much of the beginning is decided whether compression helps."""
HELPS = 0.9
"""Compressed to less than this share of its size."""
LEVEL = 3


class Packer:
    """Takes content in pieces of any size and writes it as it is stored.

    The result depends on the content alone, never on how it was cut, so that the same content always has the same key.
    """

    def __init__(self, write: Callable[[bytes], object], size_bytes: int | None = None) -> None:
        """`size_bytes`, when known beforehand, goes into the compressed header, where `stat` finds it."""
        self._write = write
        self._expected = -1 if size_bytes is None else size_bytes
        self._hash = hashlib.sha256()
        self._beginning: bytearray | None = bytearray()
        self._compressor: zstandard.ZstdCompressionObj | None = None
        self.size_bytes = 0
        self.stored_bytes = 0

    @property
    def compressed(self) -> bool:
        return self._compressor is not None

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def feed(self, piece: bytes | memoryview) -> None:
        self._hash.update(piece)
        self.size_bytes += len(piece)
        if self._beginning is None:
            self._pass(piece)
            return
        self._beginning += piece
        if len(self._beginning) >= SAMPLE:
            self._decide()

    def finish(self) -> None:
        if self._beginning is not None:
            self._expected = self.size_bytes
            self._decide()
        if self._compressor:
            self._put(self._compressor.flush())

    def _decide(self) -> None:
        beginning = bytes(self._beginning or b"")
        self._beginning = None
        sample = beginning[:SAMPLE]
        if len(zstandard.ZstdCompressor(level=1).compress(sample)) < HELPS * len(sample):
            self._compressor = zstandard.ZstdCompressor(level=LEVEL).compressobj(size=self._expected)
        self._pass(beginning)

    def _pass(self, piece: bytes | memoryview) -> None:
        self._put(self._compressor.compress(piece) if self._compressor else bytes(piece))

    def _put(self, piece: bytes) -> None:
        if piece:
            self.stored_bytes += len(piece)
            self._write(piece)


class Unpacker:
    """Gives content back in slices; the last one only after the whole was found to be what its name says."""

    def __init__(self, stored: IO[bytes], sha256: str, *, compressed: bool) -> None:
        self._sha256 = sha256
        self._hash = hashlib.sha256()
        # Reading through stream_reader bounds the output: a few compressed bytes may stand for gigabytes of zeros.
        self._plain = zstandard.ZstdDecompressor().stream_reader(stored, read_size=SLICE) if compressed else stored
        self._held: bytes | None = None

    def read(self) -> bytes:
        """The next slice; empty at the end. Raises ValueError where the content is not what its name says."""
        if self._held is None:
            self._held = self._read()
        piece, self._held = self._held, self._read() if self._held else b""
        return piece

    @property
    def more(self) -> bool:
        """Behind what was read last."""
        return bool(self._held)

    def _read(self) -> bytes:
        try:
            piece = self._plain.read(SLICE)
        except zstandard.ZstdError as error:
            raise ValueError(f"cannot be decompressed ({error})") from error
        self._hash.update(piece)
        if not piece and self._hash.hexdigest() != self._sha256:
            raise ValueError(f"its content has the hash {self._hash.hexdigest()}")
        return piece


def packed_size(header: bytes) -> int | None:
    """Size of the content that a zstd frame's header states; None where the writer did not know it."""
    size = zstandard.get_frame_parameters(header).content_size
    return None if size == zstandard.CONTENTSIZE_UNKNOWN else size
