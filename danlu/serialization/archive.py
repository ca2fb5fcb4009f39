"""The zip archive around a checkpoint: uncompressed records at aligned offsets, as in PyTorch."""

from __future__ import annotations

import struct
import zipfile
from zlib import crc32

import numpy as np

ALIGNMENT = 64
# Sizes and offsets from here on are written in 64-bit fields.
ZIP64_LIMIT = 0xFFFFFFFF
_IN_64_BIT_FIELD = 0xFFFFFFFF
_UTF8_NAMES, _SIZES_FOLLOW = 1 << 11, 1 << 3
_CHUNK = 1 << 24
# What zipfile raises on files that no writer made.
_ZIP_ERRORS = (
    zipfile.BadZipFile, EOFError, NotImplementedError, OSError, OverflowError, RuntimeError,
    ValueError, struct.error,
)  # fmt: skip


class ArchiveWriter:
    """Writes records one after the other to a stream that need not be seekable.

    Args:
        stream: a file object with `write`.
        name: the folder within the archive that holds the records.
    """

    def __init__(self, stream, name):
        self._write_to = stream.write
        self._name = name
        self._position = 0
        self._directory = []

    def record(self, name, data):
        """Add a record; its content begins at a multiple of the alignment."""
        path = f"{self._name}/{name}".encode()
        view = memoryview(data).cast("B")
        start, size, crc = self._position, len(view), crc32(view)
        flags = _UTF8_NAMES | (_SIZES_FOLLOW if size else 0)
        extra = _zip64_extra(*([size] * 2 if size >= ZIP64_LIMIT else []), *_if_large(start))
        content = start + 30 + len(path) + len(extra) + 4
        padding = -content % ALIGNMENT
        extra += struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        fields = (0, flags, 0, 0, 0, 0, 0, 0, len(path), len(extra))
        self._write(struct.pack("<4s5H3L2H", b"PK\3\4", *fields) + path + extra)
        if size:
            self._write(view)
            descriptor = "<4sLQQ" if max(size, start) >= ZIP64_LIMIT else "<4sLLL"
            self._write(struct.pack(descriptor, b"PK\7\x08", crc, size, size))
        self._directory.append((path, flags, crc, size, start))

    def close(self):
        """Write the table of contents."""
        begin = self._position
        for path, flags, crc, size, start in self._directory:
            large = size >= ZIP64_LIMIT
            extra = _zip64_extra(*([size] * 2 if large else []), *_if_large(start))
            shown_size = _IN_64_BIT_FIELD if large else size
            shown_start = _IN_64_BIT_FIELD if start >= ZIP64_LIMIT else start
            fields = (0, 0, flags, 0, 0, 0, crc, shown_size, shown_size, len(path), len(extra))
            entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", *fields, 0, 0, 0, 0, shown_start)
            self._write(entry + path + extra)
        end, count = self._position, len(self._directory)
        length = end - begin
        zip64_end = (44, 0x031E, 45, 0, 0, count, count, length, begin)
        self._write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", *zip64_end))
        self._write(struct.pack("<4sLQL", b"PK\6\7", 0, end, 1))
        counts = (min(count, 0xFFFF),) * 2
        place = (min(length, _IN_64_BIT_FIELD), min(begin, _IN_64_BIT_FIELD))
        self._write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *counts, *place, 0))

    def _write(self, data):
        self._write_to(data)
        self._position += len(data)


def _if_large(start):
    return [start] if start >= ZIP64_LIMIT else []


def _zip64_extra(*values):
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values) if values else b""


class ArchiveReader:
    """Reads records, believing nothing that the file claims about itself before it is checked.

    Args:
        stream: a seekable binary file object.
        source: what error messages call the file.

    Raises:
        RuntimeError: the archive is damaged, is not PyTorch's, or claims more data than it has.
    """

    def __init__(self, stream, source):
        self._source = source
        self._stream = stream
        try:
            self._zip = zipfile.ZipFile(stream)
            entries = self._zip.infolist()
        except _ZIP_ERRORS as error:
            raise self.damaged(f"its table of contents cannot be read ({error})") from error
        stream.seek(0, 2)
        self._left_to_read = stream.tell()
        self._records = {}
        for entry in entries:
            self._check(entry)
        self._folder = self._find_folder()

    def damaged(self, why):
        """The error that refuses this file."""
        return RuntimeError(
            f"{self._source} is not a whole PyTorch checkpoint: {why}. "
            "It may have been cut short in copying or downloading: get it again."
        )

    def _check(self, entry):
        name = entry.filename
        if name in self._records:
            raise self.damaged(f"it holds two records named {name!r}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise self.damaged(f"record {name!r} is compressed, which PyTorch's records never are")
        if entry.flag_bits & 1:
            raise self.damaged(f"record {name!r} is encrypted")
        if entry.header_offset < 0 or entry.header_offset + entry.file_size > self._left_to_read:
            raise self.damaged(
                f"record {name!r} claims {entry.file_size} bytes, more than the file has"
            )
        self._records[name] = entry

    def _find_folder(self):
        """The one folder that all records lie in."""
        for name in self._records:
            folder, _, rest = name.partition("/")
            if rest == "data.pkl":
                return folder
        raise self.damaged("it is a zip archive without a data.pkl record")

    def __contains__(self, name):
        return f"{self._folder}/{name}" in self._records

    def size(self, name):
        """The size of a record in bytes."""
        return self._entry(name).file_size

    def _entry(self, name):
        try:
            return self._records[f"{self._folder}/{name}"]
        except KeyError:
            raise self.damaged(f"record {name!r} is missing") from None

    def read(self, name):
        """A record's content, as a fresh uint8 array."""
        entry = self._entry(name)
        # Records that overlap could make a small file claim any amount of memory.
        self._left_to_read -= entry.file_size
        if self._left_to_read < 0:
            raise self.damaged("its records overlap")
        content = np.empty(entry.file_size, np.uint8)
        left = memoryview(content)
        try:
            with self._zip.open(entry) as record:
                while left:
                    count = record.readinto(left[:_CHUNK])
                    if not count:
                        raise EOFError(f"{len(left)} bytes are missing")
                    left = left[count:]
        except _ZIP_ERRORS as error:
            raise self.damaged(f"record {name!r} cannot be read ({error})") from error
        return content

    def offset(self, name):
        """Where a record's content begins in the file."""
        entry = self._entry(name)
        self._stream.seek(entry.header_offset)
        header = self._stream.read(30)
        if len(header) != 30 or header[:4] != b"PK\3\4":
            raise self.damaged(f"record {name!r} has no header")
        name_length, extra_length = struct.unpack("<2H", header[26:])
        begin = entry.header_offset + 30 + name_length + extra_length
        self._stream.seek(0, 2)
        if begin + entry.file_size > self._stream.tell():
            raise self.damaged(f"record {name!r} reaches beyond the end of the file")
        return begin
