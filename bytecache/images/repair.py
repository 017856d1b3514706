"""Odd JPEG files: what costs no pixel is mended in a copy, and of damaged ones what is there is decoded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

import numpy as np

from .arrays import Image
from .segments import EOI, METADATA, SOS, START, Frame, JpegData, JpegError, end_of_whole_segments, walk

_SEQUENTIAL = frozenset({0xC0, 0xC1, 0xC9})
_APP0, _APP14 = 0xE0, 0xEE
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_FILLS = (0x35, 0xCA)  # a byte that differs after both decodes was not written
_GRAY = (128, 128, 128, 255)  # RGB and gray, or CMYK as Adobe stores it, inverted

_WARNINGS = (  # of libjpeg, by their beginnings -> what a person calls it
    (re.compile(r"Corrupt JPEG data: \d+ extraneous bytes before marker 0xd9"), "bytes after the last block"),
    (re.compile(r"Corrupt JPEG data: \d+ extraneous bytes before marker"), "stray bytes before a marker"),
    (re.compile(r"Corrupt JPEG data: bad ICC marker"), "a broken ICC profile"),
    (re.compile(r"Invalid SOS parameters"), "scan parameters out of range"),
    (re.compile(r"Warning: unknown JFIF revision"), "an unknown JFIF version"),
    (re.compile(r"Unknown Adobe color transform"), "an unknown Adobe color transform"),
)
_NUMBER = re.compile(r"\b(0x[0-9a-f]+|\d+)\b")


class Remark(NamedTuple):
    """What is odd about an image that was decoded in full. by_pillow: whether Pillow decoded it, not libjpeg-turbo."""

    kind: str
    by_pillow: bool = False


Note: TypeAlias = Callable[[Remark], object]


def describe_warning(message: str) -> str:
    """Return what a warning of libjpeg means; its own words, without numbers, if it is not among the common ones."""
    for beginning, meaning in _WARNINGS:
        if beginning.match(message):
            return meaning
    return _NUMBER.sub("...", message.removeprefix("Corrupt JPEG data: "))


def mend(data: JpegData, frame: Frame) -> bytes:
    """Return a copy without metadata and stray bytes, and with the header values that libjpeg expects.

    Pixels are what they were: the version of JFIF, an unknown transform in an Adobe segment (libjpeg assumes YCbCr or
    YCCK) and the scan parameters of a sequential file, which can have only one value, say nothing of their own.
    A file that ends early is copied up to its end.
    """
    parts, scan = [START], None
    try:
        for segment in walk(data):
            if scan is not None:
                parts.append(bytes(data[scan : segment.start]))
                scan = None
            whole = bytearray(data[segment.start : segment.stop])
            if segment.marker == SOS:
                if frame.marker in _SEQUENTIAL and len(whole) >= 8:
                    whole[-3:] = b"\0\x3f\0"
                scan = segment.stop
            elif segment.marker == _APP0 and whole[4:9] == b"JFIF\0" and len(whole) >= 16:
                whole[9:11] = b"\x01\x01"
            elif segment.marker == _APP14 and whole[4:9] == b"Adobe" and len(whole) >= 16:
                assumed = 2 if len(frame.factors) == 4 else 1
                whole[15] = whole[15] if whole[15] in (0, assumed) else assumed
            elif segment.marker in METADATA:
                continue
            parts.append(bytes(whole))
    except JpegError:
        if scan is not None:
            parts.append(bytes(data[scan:]))
    return b"".join(parts)


def trims(data: bytes, message: str) -> list[bytes]:
    """Return copies without the bytes that libjpeg calls extraneous, one for each scan after which they may be."""
    match, copies, after_scan = _EXTRANEOUS.search(message), [], False
    if match is None:
        return []
    count, marker = int(match[1]), int(match[2], 16)
    try:
        for segment in walk(data):
            if segment.marker == marker and after_scan:
                copies.append(data[: segment.start - count] + data[segment.start :])
            after_scan = segment.marker == SOS
    except JpegError:
        pass
    return copies


def whole_part(data: bytes) -> bytes:
    """Return a copy that ends, by EOI, where its segments and scans are no longer whole."""
    return data[: end_of_whole_segments(data)] + bytes([0xFF, EOI])


def decode_damaged(
    copies: Iterable[JpegData], shape: tuple[int, ...], decode: Callable[[JpegData, Image], object]
) -> Image | None:
    """Return what can be decoded of the first copy of which anything can, with gray for the rest; None if of none.

    decode: writes into the array that it is given, and may raise at any point. It is called twice with arrays that
    differ everywhere: only what is equal afterwards was decoded from the data. (TurboJPEG may report a warning where
    nothing was written, tjGetErrorCode.)
    """
    for copy in copies:
        filled = [np.full(shape, value, np.uint8) for value in _FILLS]
        for image in filled:
            try:
                decode(copy, image)
            except (ValueError, KeyError):  # rows that were written before are good
                pass
        unwritten = filled[0] != filled[1]
        if not unwritten.all():
            return np.where(unwritten, np.array(_GRAY[: shape[2]], np.uint8), filled[0])
    return None
