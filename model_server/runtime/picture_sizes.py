"""How large a JPEG or PNG says that it is, before TensorFlow makes room for so much.

TensorFlow decodes a JPEG that is cut short: two kilobytes that say 23,000 x 23,000 pixels took it three seconds and
1.6 GB.
"""

from __future__ import annotations

import struct
from typing import Final

from model_server.runtime.dtypes import Array
from model_server.runtime.errors import invalid

MOST_PIXELS: Final = 64 * 1024 * 1024
# In a JPEG each block of 64 pixels takes one bit at least; with arithmetic coding, which hardly anybody writes, less.
_MOST_PIXELS_OF_A_BYTE = 1024
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
# Start of frame: each kind of JPEG has one of these markers; the others of that range are tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN, _END = 0xDA, 0xD9


def check_pictures(name: str, array: Array) -> None:
    """Look at the strings of input `name` that are JPEG or PNG files. Raises ServingError."""
    contents: list[bytes] = array.ravel().tolist()
    for content in contents:
        if content.startswith(_JPEG):
            _check(name, "JPEG", content, _jpeg_size(content))
        elif content.startswith(_PNG) and len(content) >= 24:
            _check(name, "PNG", content, struct.unpack_from(">II", content, 16))


def _check(name: str, kind: str, content: bytes, size: tuple[int, ...] | None) -> None:
    if size is None:
        return  # TensorFlow says what is wrong with it
    width, height = size
    said = f'input "{name}": a {kind} of {len(content)} bytes says that it has {width} x {height} pixels'
    if width * height > MOST_PIXELS:
        raise invalid(f"{said}, and at most {MOST_PIXELS} are decoded: send a smaller picture")
    if kind == "JPEG" and width * height > _MOST_PIXELS_OF_A_BYTE * len(content):
        raise invalid(f"{said}, which so few bytes cannot hold: the file is cut short, or no picture")


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Width and height, found as libjpeg finds them: what stands between two segments is passed over."""
    at = 2
    while (at := content.find(b"\xff", at)) >= 0:
        while content[at : at + 1] == b"\xff":
            at += 1
        marker = content[at] if at < len(content) else _END
        at += 1
        if marker in {_START_OF_SCAN, _END}:
            return None
        if marker and marker not in _WITHOUT_LENGTH:
            segment = content[at : at + 7]
            if len(segment) < 7:
                return None
            length, _, height, width = struct.unpack(">HBHH", segment)
            if marker in _FRAMES:
                return width, height
            at += length
    return None
