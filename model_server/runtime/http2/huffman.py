r"""The Huffman code of HPACK (RFC 7541, section 5.2 and appendix B).

It is canonical: codes of one length follow one another, in the order of their symbols. So the symbols of each length
say everything. The 30 bits of ones, which stand for the end of a string, may not be in one.
"""

from __future__ import annotations

import functools

_SYMBOLS = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: b"\\\xc3\xd0",
    20: b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2",
    21: b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6",
    22: b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9",
    23: b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5"
    b"\xe7\xef",
    24: b"\t\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed",
    25: b"\xc7\xcf\xea\xeb",
    26: b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff",
    27: b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe",
    28: b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f"
    b"\xdc\xf9",
    30: b"\n\r\x16",
}
_LONGEST = 30
_MOST_PADDING = 7


def _codes() -> dict[int, int]:
    """Symbols by their codes, each with a one before it, which says where it begins."""
    found, code, before = {}, 0, 0
    for length, symbols in _SYMBOLS.items():
        code <<= length - before
        before = length
        for symbol in symbols:
            found[1 << length | code] = symbol
            code += 1
    return found


_CODES = _codes()


class _Prefix(dict[str, "tuple[int, _Prefix]"]):
    """What was read of a code, and where each next four bits lead: to a symbol or -1, for no code is so short that they
    end two, and to the prefix after it. That is found when it is asked for first.
    """

    def __init__(self, code: int) -> None:
        """`code` has a one before its bits."""
        super().__init__()
        self.code = code

    def __missing__(self, digit: str) -> tuple[int, _Prefix]:
        code, symbol = self.code, -1
        for shift in (3, 2, 1, 0):
            code = code << 1 | (int(digit, 16) >> shift & 1)
            if code in _CODES:
                code, symbol = 1, _CODES[code]
        if code >> _LONGEST:
            raise ValueError("a code that no symbol has")
        step = self[digit] = symbol, _prefix(code)
        return step


_prefix = functools.cache(_Prefix)


def decode(packed: bytes) -> bytes:
    """The string that was packed. Raises ValueError."""
    found, prefix = bytearray(), _prefix(1)
    for digit in packed.hex():
        symbol, prefix = prefix[digit]
        if symbol >= 0:
            found.append(symbol)
    padding = prefix.code.bit_length() - 1
    if padding > _MOST_PADDING or prefix.code != (2 << padding) - 1:
        raise ValueError("a string that does not end with a symbol and ones")
    return bytes(found)
