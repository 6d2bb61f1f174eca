"""IPTC IIM records taken over: the metadata before XMP, which agencies still read.

Source: IPTC-NAA Information Interchange Model 4.2, chapter 3; Adobe Photoshop File Formats, image
resource blocks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["kept_records", "photoshop_segment"]

_MARKER, _LONG = 0x1C, 0x8000
_SUBLOCATION = (2, 92)  # the street or building, below the city
_PREVIEW = range(200, 203)  # datasets of record 2: a picture from before the edit
_CHARACTER_SET = (1, 90)


def kept_records(data: bytes, *, keep_private: bool) -> bytes:
    """The records to write again, empty if nothing is left; raises ValueError for damaged ones.

    Left out: previews, the place below the city unless asked for, and all that is neither of
    record 2 nor the character set.
    """
    kept = []
    for record, dataset, whole in _records(data):
        wanted = record == 2 and dataset not in _PREVIEW
        if (record, dataset) == _SUBLOCATION and not keep_private:
            wanted = False
        if wanted or (record, dataset) == _CHARACTER_SET:
            kept.append(whole)
    return b"".join(kept)


def _records(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(record, dataset, all bytes of it); zeros at the end are filler."""
    at = 0
    while at < len(data) and data[at]:
        if data[at] != _MARKER or at + 5 > len(data):
            raise ValueError("no marker of a dataset")
        record, dataset, size = struct.unpack_from(">BBH", data, at + 1)
        end = at + 5 + size
        if size & _LONG or end > len(data):
            raise ValueError("a dataset beyond the end")
        yield record, dataset, data[at:end]
        at = end


def photoshop_segment(records: bytes) -> bytes:
    """The content of a JPEG's APP13 segment with these records."""
    padding = b"\0" * (len(records) % 2)
    head = b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(records))
    return b"Photoshop 3.0\0" + head + records + padding
