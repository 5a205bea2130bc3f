"""How large a JPEG, PNG or GIF says that it is, before TensorFlow makes room for so much.

TensorFlow decodes a JPEG that is cut short: two kilobytes that say 23,000 x 23,000 pixels took it three seconds and
1.6 GB. Of a GIF it decodes all frames, where only the first is asked for, too.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from model_server.runtime.dtypes import Array
from model_server.runtime.errors import invalid

MOST_PIXELS: Final = 64 * 1024 * 1024
# In a JPEG each block of 64 pixels takes one bit at least; with arithmetic coding, which hardly anybody writes, less.
_MOST_PIXELS_OF_A_BYTE = 1024
_JPEG, _PNG, _GIF = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8"
# Start of frame: each kind of JPEG has one of these markers; the others of that range are tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN, _END = 0xDA, 0xD9
_GIF_FRAME, _GIF_EXTENSION = 0x2C, 0x21
_NOT_FILL = re.compile(rb"[^\xff]")
# Segments and blocks that are looked at, in the event loop's thread: so many, and one more for so many bytes.
# Programs write tens of segments before a JPEG's picture, and blocks of 255 bytes into a GIF.
_PARTS, _BYTES_OF_A_PART = 10_000, 32


class _Parts:
    """How many segments and blocks of an input's pictures may still be looked at."""

    def __init__(self, name: str, contents: list[bytes]) -> None:
        self._name = name
        self._left = _PARTS + sum(map(len, contents)) // _BYTES_OF_A_PART

    def take(self) -> None:
        """Look at one more. Raises ServingError."""
        self._left -= 1
        if self._left < 0:
            raise invalid(
                f'input "{self._name}": its pictures have more segments than any program writes: save them anew'
            )


def check_pictures(name: str, array: Array) -> None:
    """Look at the strings of input `name` that are JPEG, PNG or GIF files. Raises ServingError."""
    contents: list[bytes] = array.ravel().tolist()
    parts = _Parts(name, contents)
    for content in contents:
        if content.startswith(_JPEG):
            width, height = _jpeg_size(content, parts)
            said = f'input "{name}": a JPEG of {len(content)} bytes says that it has {width} x {height} pixels'
            _check(said, width * height)
            if width * height > _MOST_PIXELS_OF_A_BYTE * len(content):
                raise invalid(f"{said}, which so few bytes cannot hold: the file is cut short, or no picture")
        elif content.startswith(_PNG) and len(content) >= 24:
            width, height = struct.unpack_from(">II", content, 16)
            _check(f'input "{name}": a PNG says that it has {width} x {height} pixels', width * height)
        elif content.startswith(_GIF):
            pixels = _gif_pixels(content, parts)
            _check(f'input "{name}": a GIF says that its frames have {pixels} pixels', pixels)


def _check(said: str, pixels: int) -> None:
    if pixels > MOST_PIXELS:
        raise invalid(f"{said}, and at most {MOST_PIXELS} are decoded: send a smaller picture")


def _jpeg_size(content: bytes, parts: _Parts) -> tuple[int, int]:
    """Width and height, found as libjpeg finds them: what stands between two segments is passed over.

    0 where there are none; TensorFlow says what is wrong then.
    """
    at = 2
    while (at := content.find(b"\xff", at)) >= 0:
        parts.take()
        after = _NOT_FILL.search(content, at)
        at = after.start() if after else len(content)
        marker = content[at] if at < len(content) else _END
        at += 1
        if marker in {_START_OF_SCAN, _END}:
            return 0, 0
        if marker and marker not in _WITHOUT_LENGTH:
            segment = content[at : at + 7]
            if len(segment) < 7:
                return 0, 0
            length, _, height, width = struct.unpack(">HBHH", segment)
            if marker in _FRAMES:
                return width, height
            at += length
    return 0, 0


def _gif_pixels(content: bytes, parts: _Parts) -> int:
    """Those of all frames together."""
    pixels, at = 0, 13 + _colours(content[10]) if len(content) > 13 else len(content)
    while at < len(content):
        parts.take()
        block = content[at]
        if block == _GIF_FRAME and at + 10 < len(content):
            width, height, packed = struct.unpack_from("<HHB", content, at + 5)
            pixels += width * height
            at += 11 + _colours(packed)
        elif block == _GIF_EXTENSION:
            at += 2
        else:
            break
        while at < len(content) and content[at]:
            parts.take()
            at += 1 + content[at]
        at += 1
    return pixels


def _colours(packed: int) -> int:
    """The bytes of a table of colours, by the field that says whether there is one."""
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0
