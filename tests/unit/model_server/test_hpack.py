"""HPACK held against RFC 7541's own examples, and against the library `hpack` on generated and on damaged blocks."""

from __future__ import annotations

import string

import hpack
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given, settings
from hypothesis import strategies as st

from model_server.runtime.http2 import frames, huffman
from model_server.runtime.http2.frames import ConnectionFaultError
from model_server.runtime.http2.hpack import Decoder

_MOST = 16384
# RFC 7541, appendix C.4: three requests on one connection, with Huffman's code.
_EXAMPLE = [
    (
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
    ),
    (
        "828684be5886a8eb10649cbf",
        [
            *((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")),
            (b"cache-control", b"no-cache"),
        ],
    ),
    (
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        [
            *((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html")),
            *((b":authority", b"www.example.com"), (b"custom-key", b"custom-value")),
        ],
    ),
]


def test_the_examples_of_the_rfc():
    decoder = Decoder(_MOST)
    for block, fields in _EXAMPLE:
        assert decoder.decode(bytes.fromhex(block)) == fields


_names = st.one_of(
    st.sampled_from([":path", "grpc-timeout", "content-type", "user-agent", "x"]),
    st.text(string.ascii_lowercase + "-", min_size=1, max_size=20),
)
_fields = st.lists(st.tuples(_names, st.text(st.characters(max_codepoint=255), max_size=60)), max_size=12)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(_fields, st.booleans()), max_size=12), st.lists(st.sampled_from([0, 40, 200, 4096]), max_size=3)
)
def test_what_the_library_packs_is_read(blocks, sizes):
    encoder, decoder = hpack.Encoder(), Decoder(_MOST)
    for number, (fields, packed) in enumerate(blocks):
        if number < len(sizes):
            encoder.header_table_size = sizes[number]
        raw = [(name.encode(), value.encode("latin-1")) for name, value in fields]
        assert decoder.decode(encoder.encode(raw, huffman=packed)) == raw


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_damaged_blocks_are_read_as_the_library_does_or_refused(blocks):
    theirs, ours = hpack.Decoder(max_header_list_size=_MOST), Decoder(_MOST)
    for block in blocks:
        try:
            expected = theirs.decode(block, raw=True)
        except (hpack.HPACKError, hpack.OversizedHeaderListError):
            # What it refuses and this one takes is a size update that it does not allow either, or none.
            with pytest.raises(ConnectionFaultError) as refused:
                ours.decode(block)
            assert refused.value.code == frames.COMPRESSION_ERROR
            return
        assert ours.decode(block) == [(bytes(name), bytes(value)) for name, value in expected]


@given(st.binary(max_size=200))
def test_every_byte_has_its_code(text):
    assert huffman.decode(HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)) == text


@pytest.mark.parametrize(
    "packed",
    [b"\xff\xff\xff\xff", b"\x00", b"\x1f\xff", b"\x18"],
    ids=["end of string", "zeros", "a byte of ones", "cut"],
)
def test_strings_that_do_not_end_as_they_should_are_refused(packed):
    with pytest.raises(ValueError, match=r"a code that no symbol has|does not end with a symbol and ones"):
        huffman.decode(packed)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (b"\x80", "there is no field 0"),
        (b"\xbe", "there is no field 62"),
        (b"\x82\x3f\xe1\x1f", "amid fields"),
        (b"\x3f\xe2\x1f", "a table of 4097 bytes"),
        (b"\xff\xff\xff\xff\xff\xff", "a number that is too large"),
        (b"\x40\x85abc", "they end too early"),
        (b"\x40", "they end too early"),
    ],
)
def test_why_a_block_cannot_be_read(block, words):
    with pytest.raises(ConnectionFaultError, match=words) as refused:
        Decoder(_MOST).decode(block)
    assert refused.value.code == frames.COMPRESSION_ERROR


def test_a_few_bytes_may_not_stand_for_much():
    large = b"\x40\x01x\x7f\xa1\x1e" + b"v" * 4000  # one field of 4,000 bytes, kept
    decoder = Decoder(_MOST)
    assert len(decoder.decode(large)) == 1
    with pytest.raises(ConnectionFaultError, match="larger than 16384 bytes") as refused:
        decoder.decode(b"\xbe" * 5)
    assert refused.value.code == frames.ENHANCE_YOUR_CALM
