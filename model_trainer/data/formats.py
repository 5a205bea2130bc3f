"""What a file really is, from its first bytes: format and size in pixels, before any pixel is decoded.

The extension decides nothing. A header is read first because a small file can claim a picture of 60,000 by 60,000
pixels, and the decoder would allocate all of it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum

# A 48 megapixel photo (8064 x 6048), the largest that phones make in daily use, passes: 150 MB decoded.
MOST_PIXELS = 50_000_000

# A lossless PNG of that size.
MOST_BYTES = 128 * 1024 * 1024


class BadImage(Exception):  # noqa: N818 - a fact about a file
    """A file that cannot be used as an image; the message is a short phrase such as "zero bytes"."""


class Format(StrEnum):
    """The formats that are read."""

    PNG = "PNG"
    JPEG = "JPEG"
    GIF = "GIF"
    BMP = "BMP"


@dataclass(frozen=True, slots=True)
class Header:
    """An image as its header describes it; width and height in pixels."""

    format: Format
    width: int
    height: int


_OTHERS = {
    b"RIFF": "a RIFF file such as WebP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"%PDF": "PDF",
    b"PK\3\4": "a ZIP archive",
    b"<svg": "SVG",
    b"<!DO": "HTML",
    b"<htm": "HTML",
}


def read_header(data: bytes) -> Header:
    """Format and size of the image in `data`. Raises BadImage where it has none, or more pixels than are decoded."""
    if not data:
        raise BadImage("zero bytes")
    try:
        header = _header(data)
    except (struct.error, IndexError) as error:
        raise BadImage("truncated within its header") from error
    if header.width < 1 or header.height < 1:
        raise BadImage(f"a {header.format} of {header.width} x {header.height} pixels")
    if header.width * header.height > MOST_PIXELS:
        size = f"{header.width} x {header.height} pixels"
        raise BadImage(f"a {header.format} of {size}, more than {MOST_PIXELS // 1_000_000} million")
    return header


def _header(data: bytes) -> Header:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return Header(Format.PNG, *struct.unpack_from(">II", data, 16))
    if data.startswith((b"GIF87a", b"GIF89a")):
        return Header(Format.GIF, *struct.unpack_from("<HH", data, 6))
    if data.startswith(b"BM"):
        return _bmp(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    found = _OTHERS.get(data[:4], f"it begins with {data[:8]!r}")
    raise BadImage(f"not a PNG, JPEG, GIF or BMP image ({found})")


def _bmp(data: bytes) -> Header:
    """BITMAPINFOHEADER and its successors (the OS/2 header of 12 bytes is not decoded by TensorFlow)."""
    pixels, size = struct.unpack_from("<II", data, 10)
    if size < 40:
        raise BadImage("a BMP with an OS/2 header; save it as PNG")
    width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    # TensorFlow reads 8-bit pixels as shades of grey and ignores the palette, so colours would be wrong.
    if bits == 8:
        palette = data[14 + size : pixels]
        if any(palette[i : i + 3] != bytes([i // 4] * 3) for i in range(0, len(palette) - 3, 4)):
            raise BadImage("a BMP with a colour palette; save it as PNG or 24-bit BMP")
    return Header(Format.BMP, width, abs(height))


def _jpeg(data: bytes) -> Header:
    """The first start-of-frame segment (ITU-T T.81, B.2): C0 to CF without C4, C8 and CC."""
    at = 2
    while True:
        if data[at] != 0xFF:
            raise BadImage("a JPEG with damaged segments")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return Header(Format.JPEG, width, height)
        if marker in {0xD9, 0xDA}:
            raise BadImage("a JPEG without a frame")
        (length,) = struct.unpack_from(">H", data, at + 2)
        at += 2 + length
