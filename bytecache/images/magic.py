"""What a file is, by its first bytes."""

from __future__ import annotations

from typing import NamedTuple


class FileType(NamedTuple):
    """A type of file. name: with its article. pillow: Pillow's name of it, if it is an image. hint: the way out."""

    name: str
    pillow: str = ""
    hint: str = ""


_HEIF_HINT = "call pillow_heif.register_heif_opener() of the package pillow-heif first"
_AVIF_HINT = "Pillow from 11.3 on decodes it, earlier ones with a plugin such as pillow-avif-plugin"
_JXL_HINT = "import pillow_jxl of the package pillow-jxl-plugin first"
_MAGIC = (  # what a file starts with -> its type
    (b"\x89PNG", FileType("a PNG", "PNG")),
    (b"GIF8", FileType("a GIF", "GIF")),
    (b"BM", FileType("a BMP", "BMP")),
    *((start, FileType("a TIFF", "TIFF")) for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (b"\0\0\0\x0cjP", FileType("a JPEG 2000", "JPEG2000")),
    (b"\xffO\xffQ", FileType("a JPEG 2000", "JPEG2000")),
    (b"\xff\x0a", FileType("a JPEG XL", "JXL", _JXL_HINT)),
    (b"\0\0\0\x0cJXL ", FileType("a JPEG XL", "JXL", _JXL_HINT)),
    *(
        (b"P%d" % kind + blank, FileType("a PNM", "PPM"))
        for kind in range(1, 7)
        for blank in (b"\n", b" ", b"\r", b"\t")
    ),
    (b"qoif", FileType("a QOI", "QOI")),
    (b"8BPS", FileType("a PSD")),
    (b"\x1f\x8b", FileType("a gzip file", hint="decompress it first")),
    (b"PK\x03\x04", FileType("a ZIP file", hint="extract it first")),
    (b"/9j/", FileType("a JPEG in base64", hint="decode it with base64.b64decode first")),
    (b"iVBORw0KGgo", FileType("a PNG in base64", hint="decode it with base64.b64decode first")),
    (b"data:image", FileType("a data URL", hint="decode what follows the comma with base64.b64decode first")),
    (b"%PDF", FileType("a PDF")),
    (b"\x93NUMPY", FileType("a NumPy array file", hint="pass the array that numpy.load returns")),
    (b"<", FileType("an HTML or XML file")),
    (b"{", FileType("a JSON file")),
    (b"version https://git-lfs", FileType("a Git LFS pointer", hint="run git lfs pull")),
)
_HEVC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")  # ISO/IEC 23008-12
_AVIF = FileType("an AVIF file", "AVIF", _AVIF_HINT)
_ISO_BRANDS = {
    **dict.fromkeys(_HEVC_BRANDS, FileType("a HEIC file", "HEIF", _HEIF_HINT)),
    **dict.fromkeys((b"mif1", b"msf1"), FileType("a HEIF file", "HEIF", _HEIF_HINT)),
    **dict.fromkeys((b"avif", b"avis"), _AVIF),
}
_RIFF = {b"WEBP": FileType("a WebP", "WEBP")}


def identify(start: bytes) -> FileType | None:
    """Return the type of a file that is not a JPEG, from its first bytes (16 or more); None if they say nothing."""
    if start[4:8] == b"ftyp":
        compatible = start[16 : int.from_bytes(start[:4], "big")]
        return _AVIF if b"avif" in compatible else _ISO_BRANDS.get(start[8:12])
    if start[:4] == b"RIFF":
        return _RIFF.get(start[8:12], FileType("a RIFF file"))
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    return next((kind for magic, kind in _MAGIC if start.startswith(magic) or text.startswith(magic)), None)
