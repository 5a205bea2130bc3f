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
    WEBP = "WEBP"


@dataclass(frozen=True, slots=True)
class Header:
    """An image as its header describes it; width and height in pixels. `turned`: a PNG that may have to be turned."""

    format: Format
    width: int
    height: int
    turned: bool = False


_OTHERS = {
    b"RIFF": "a RIFF file other than WebP",
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
        width, height = struct.unpack_from(">II", data, 16)
        return Header(Format.PNG, width, height, b"eXIf" in _png_chunks(data))
    if data.startswith((b"GIF87a", b"GIF89a")):
        return Header(Format.GIF, *struct.unpack_from("<HH", data, 6))
    if data.startswith(b"BM"):
        return _bmp(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(b"RIFF") and b"WEBP".startswith(data[8:12]):
        return _webp(data)
    found = _OTHERS.get(data[:4], f"it begins with {data[:8]!r}")
    raise BadImage(f"not a PNG, JPEG, GIF, BMP or WebP image ({found})")


def _png_chunks(data: bytes) -> set[bytes]:
    """Names of the chunks (PNG specification, third edition, 5.3) up to where the file ends or is damaged."""
    names: set[bytes] = set()
    at = 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        names.add(data[at + 4 : at + 8])
        at += 12 + length
    return names


def _bmp(data: bytes) -> Header:
    """The OS/2 header of 12 bytes has sizes of 16 bits; BITMAPINFOHEADER and its successors have 32, signed."""
    (size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", data, 18)
    return Header(Format.BMP, width, abs(height))


def _webp(data: bytes) -> Header:
    """The first chunk (RFC 9649, 2): VP8 (lossy), VP8L (lossless) or VP8X (extended, with the size of the canvas)."""
    match data[12:16]:
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return Header(Format.WEBP, width & 0x3FFF, height & 0x3FFF)
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return Header(Format.WEBP, (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        case b"VP8X":
            sides = [int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27)]
            if len(data) < 30:
                raise BadImage("truncated within its header")
            return Header(Format.WEBP, sides[0], sides[1])
        case _:
            raise BadImage("truncated within its header" if len(data) < 16 else "a WebP without a picture")


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
