"""One walk over the segments of a JPEG file: its frame, its sides, and where its scans begin and end.

Source: ITU-T T.81, Annex B. Like libjpeg, the walk skips stray bytes in front of a marker.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from .magic import identify

JpegData: TypeAlias = "bytes | bytearray | memoryview"

START = b"\xff\xd8"
SOS, EOI, EXIF_MARKER = 0xDA, 0xD9, 0xE1
_STANDALONE = frozenset({*range(0x01, 0xC0), *range(0xD0, 0xD9)})  # markers without a length
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_LOSSLESS, _PROGRESSIVE = frozenset({0xC3, 0xC7, 0xCB, 0xCF}), frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_UNSUPPORTED = {
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical"),
    0xCB: "lossless with arithmetic coding",
}
_SUBSAMPLINGS = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411", (1, 4): "441"}
METADATA = frozenset(range(0xE0, 0xFF))  # APPn, JPGn and comments
_TABLES_AND_METADATA = METADATA | {0xC4, 0xCC, 0xDB, 0xDD}
_FRAME_HEADER = struct.Struct(">BHHB")  # precision, height, width, number of components
_MARKER = re.compile(rb"\xff+[^\x00\xff]")  # after stray bytes, which libjpeg skips too, and fill bytes
_MAX_SEGMENTS = 100_000
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class JpegError(ValueError):
    """Raised for bytes that cannot be decoded; ``index`` is the image's index in its batch, or None.

    By ``decode_jpeg`` if they are not a JPEG file, or a damaged one, by all others if they are no image of any format.
    """

    index: int | None = None


class TruncatedError(JpegError):
    """Raised if the data ends before the file does; ``offset`` is where what is incomplete begins."""

    offset = 0


class Frame(NamedTuple):
    """The frame header of a JPEG file. marker: of SOFn, 0xC0 to 0xCF. components: three bytes of each, T.81 B.2.2."""

    marker: int
    precision: int
    height: int
    width: int
    components: bytes
    stop: int  # the offset after it

    @property
    def factors(self) -> tuple[tuple[int, int], ...]:
        """The (horizontal, vertical) sampling factors of each component."""
        return tuple((byte >> 4, byte & 15) for byte in self.components[1::3])

    @property
    def lossless(self) -> bool:
        """Whether libjpeg neither scales the image nor converts its colors."""
        return self.marker in _LOSSLESS

    @property
    def gray(self) -> bool:
        """Whether there is one component."""
        return len(self.components) == 3

    @property
    def subsampling(self) -> str:
        """How coarse the chroma is: "444", "422", "420", "440", "411", "441", "Gray", or all factors."""
        if self.gray:
            return "Gray"
        luma, chroma = self.factors[0], set(self.factors[1:3])
        if chroma == {(1, 1)} and luma in _SUBSAMPLINGS:
            return _SUBSAMPLINGS[luma]
        return ",".join(f"{horizontal}x{vertical}" for horizontal, vertical in self.factors)

    @property
    def progressive(self) -> bool:
        """Whether each pixel is made of several scans."""
        return self.marker in _PROGRESSIVE


class Segment(NamedTuple):
    """A marker segment. start: of its marker; payload, stop: of what follows its length, as offsets in the file."""

    marker: int
    start: int
    payload: int
    stop: int


def as_bytes(data: Any) -> JpegData:
    """Return `data` as something that simplejpeg takes: bytes, or a view of one-dimensional bytes.

    Takes whatever has a buffer of single bytes: bytes, bytearray, memoryview, mmap, arrays of int8 and uint8, also
    slices of np.memmap. Raises TypeError or ValueError for anything else.
    """
    if type(data) is bytes:
        return data
    try:
        view = memoryview(data)
    except TypeError:
        raise TypeError(
            f"data must be the bytes of a JPEG file, got {type(data).__name__}: read the file first"
        ) from None
    if view.ndim != 1 or view.itemsize != 1:
        raise TypeError(
            f"data must be the bytes of a JPEG file, got items of format {view.format!r} in {view.ndim} dimensions: "
            "is the image already decoded?"
        )
    if not view.c_contiguous:
        raise ValueError("data must be contiguous bytes, got a strided view: pass bytes(data)")
    return view if view.format == "B" else view.cast("B")


def walk(data: JpegData) -> Iterator[Segment]:
    """Iterate over the marker segments, from the one after SOI to EOI; entropy-coded data are skipped.

    Raises JpegError if the data does not start as a JPEG file, or ends inside of a segment or in front of a marker.
    """
    size = len(data)
    if bytes(data[:2]) != START:
        raise _not_a_jpeg(bytes(data[:512]))
    offset = 2
    for _ in range(_MAX_SEGMENTS):
        start, found = offset, _MARKER.search(data, offset)
        if found is None:
            raise _ends("before the marker", start, size)
        offset = found.end()
        marker = data[offset - 1]
        if marker == EOI or marker in _STANDALONE:
            yield Segment(marker, offset - 2, offset, offset)
            if marker == EOI:
                return
            continue
        if offset + 2 > size:
            raise _ends(f"inside the segment 0x{marker:02x}", offset - 2, size)
        stop = offset + max(2, data[offset] << 8 | data[offset + 1])  # libjpeg takes a length of 0 and 1 as 2
        if stop > size:
            raise _ends(f"inside the segment 0x{marker:02x}", offset - 2, size)
        yield Segment(marker, offset - 2, offset + 2, stop)
        offset = stop
        if marker == SOS:
            offset = _end_of_scan(data, stop)
    raise JpegError(f"the JPEG data has more than {_MAX_SEGMENTS:,} segments: it is damaged, or made to take time")


def read_frame(data: JpegData) -> Frame:
    """Return the frame header; raise JpegError if there is none that libjpeg can decode, and say what is there."""
    offset = 2
    try:  # the ordinary case first, in a few steps
        while data[offset] == 0xFF:
            marker, stop = data[offset + 1], offset + 2 + (data[offset + 2] << 8 | data[offset + 3])
            if marker in _FRAMES and stop <= len(data) and data[0] == 0xFF and data[1] == 0xD8:
                return _parse_frame(data, Segment(marker, offset, offset + 4, stop))
            if marker not in _TABLES_AND_METADATA:
                break
            offset = stop
    except IndexError:
        pass
    for segment in walk(data):
        if segment.marker in _FRAMES:
            return _parse_frame(data, segment)
        if segment.marker in (SOS, EOI):
            what = "a scan" if segment.marker == SOS else "its end (EOI)"
            raise JpegError(f"the JPEG data has {what} at byte {segment.start}, before any frame header")
    raise AssertionError("walk ends with EOI, or raises")


def _parse_frame(data: JpegData, segment: Segment) -> Frame:
    marker = segment.marker
    if marker in _UNSUPPORTED or segment.stop - segment.payload < 6:
        name = f"SOF{marker - 0xC0}"
        if marker in _UNSUPPORTED:
            raise JpegError(f"a {_UNSUPPORTED[marker]} JPEG ({name}), which libjpeg-turbo does not decode")
        raise JpegError(f"the frame header {name} at byte {segment.start} is too short")
    precision, height, width, count = _FRAME_HEADER.unpack_from(data, segment.payload)
    components = bytes(data[segment.payload + 6 : segment.stop])
    if len(components) != 3 * count:
        came = f"{len(components)} bytes of {count} components"
        raise JpegError(f"the frame header at byte {segment.start} has {came}, expected 3 bytes of each")
    if precision != 8 or count not in (1, 3, 4):
        came = f"{precision} bits and {count} components"
        raise JpegError(f"a JPEG of {came}; 8 bits and 1, 3 or 4 components can be decoded")
    if height == 0:
        raise JpegError("the image has height 0 in its header: a DNL marker after the scan has it, not supported")
    if width == 0:
        raise JpegError(f"the image has {height} x 0 pixels: its width is 0")
    return Frame(marker, precision, height, width, components, segment.stop)


def scans_at_most(data: JpegData, frame: Frame) -> int:
    """Return a bound on how many scans libjpeg decodes: 1 if the first one of a sequential file has all components."""
    offset = frame.stop
    try:
        while not frame.progressive and data[offset] == 0xFF:
            if data[offset + 1] == SOS and 3 * data[offset + 4] == len(frame.components):
                return 1
            if data[offset + 1] not in _TABLES_AND_METADATA:
                break
            offset += 2 + (data[offset + 2] << 8 | data[offset + 3])
    except IndexError:
        pass
    return bytes(data).count(bytes([0xFF, SOS]))


def check_scan(data: JpegData) -> None:
    """Raise JpegError if no scan follows the frame header, or none has a byte of image data."""
    scans = 0
    for segment in walk(data):
        if segment.marker == SOS:
            scans += 1
            if segment.stop < _end_of_scan(data, segment.stop):
                return
    what = "no scan" if not scans else "a scan without a byte in it"
    raise JpegError(f"the JPEG data has {what}: there is a header, and no image")


def end_of_whole_segments(data: JpegData) -> int:
    """Return the offset up to which all segments and scans are there in full."""
    stop = 2
    try:
        for segment in walk(data):
            stop = segment.stop
    except TruncatedError as exc:
        return exc.offset
    except JpegError:
        pass
    return stop


def _not_a_jpeg(start: bytes) -> JpegError:
    if not start:
        return JpegError("expected the bytes of a JPEG file, got none: the file is empty")
    kind = identify(start)
    what = "" if kind is None else f": {kind.name}: {kind.hint}"
    if kind is not None and (kind.pillow or not kind.hint):
        what = f": {kind.name}, not a JPEG" + (": decode_image takes it" if kind.pillow else "")
    return JpegError(f"expected the bytes of a JPEG file, which start with {START!r}, got {start[:8]!r}{what}")


def _end_of_scan(data: JpegData, start: int) -> int:
    found = _SCAN_END.search(data, start)
    return len(data) if found is None else found.start()


def _ends(where: str, offset: int, size: int) -> TruncatedError:
    error = TruncatedError(
        f"the JPEG data is truncated after {size} bytes: it ends {where} that starts at byte {offset}"
    )
    error.offset = offset
    return error
