"""What a file that is not a JPEG is, by its first bytes."""

from __future__ import annotations

_MAGIC = (  # what a file starts with -> what it is, with the way out after a colon
    (b"\x89PNG", "a PNG"),
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"RIFF", "a WebP or another RIFF file"),
    (b"\0\0\0\x0cjP", "a JPEG 2000"),
    (b"\xffO\xffQ", "a JPEG 2000"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (b"\x1f\x8b", "a gzip file: decompress it first"),
    (b"PK\x03\x04", "a ZIP file"),
    (b"/9j/", "a JPEG in base64: decode it with base64.b64decode first"),
    (b"data:image", "a data URL: decode what follows the comma with base64.b64decode first"),
    (b"%PDF", "a PDF"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"<", "an HTML or XML file"),
    (b"{", "a JSON file"),
    (b"version https://git-lfs", "a Git LFS pointer"),
)
_ISO_BRANDS: dict[bytes, str] = {
    **dict.fromkeys((b"heic", b"heix", b"hevc"), "a HEIC"),
    **dict.fromkeys((b"mif1", b"msf1"), "a HEIF"),
    **dict.fromkeys((b"avif", b"avis"), "an AVIF"),
}


def describe(start: bytes) -> str:
    """Return what the first bytes of a file say it is, as the end of an error message; empty if they say nothing."""
    if start[4:8] == b"ftyp" and start[8:12] in _ISO_BRANDS:
        return f": {_ISO_BRANDS[start[8:12]]} file, not a JPEG"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    for magic, name in _MAGIC:
        if start.startswith(magic) or text.startswith(magic):
            return f": {name}" if ":" in name else f": {name}, not a JPEG"
    return ""
