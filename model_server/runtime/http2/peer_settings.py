"""SETTINGS frames: this side's own, and those of clients (RFC 9113, section 6.5)."""

from __future__ import annotations

from model_server.runtime.http2 import frames
from model_server.runtime.http2.frames import ConnectionFaultError, frame
from model_server.runtime.http2.request_head import MAX_LIST_BYTES

# There are six; whoever repeats them wants to keep this side busy.
_MOST = 32


def own(calls: int, window: int) -> bytes:
    """The frame that says how many calls a client may have under way, and how many bytes it may send of each."""
    settings = (
        (frames.MAX_CONCURRENT_STREAMS, calls),
        (frames.INITIAL_WINDOW_SIZE, window),
        (frames.MAX_HEADER_LIST_SIZE, MAX_LIST_BYTES),
    )
    return frame(frames.SETTINGS, 0, 0, b"".join(frames.SETTING.pack(*setting) for setting in settings))


def read(payload: bytes) -> list[tuple[int, int]]:
    """The settings of a client, each with its value. Raises ConnectionFaultError."""
    if len(payload) % frames.SETTING.size:
        raise ConnectionFaultError(frames.FRAME_SIZE_ERROR, "SETTINGS have six bytes each")
    if len(payload) > _MOST * frames.SETTING.size:
        raise ConnectionFaultError(frames.ENHANCE_YOUR_CALM, f"more than {_MOST} settings in a frame")
    settings: list[tuple[int, int]] = list(frames.SETTING.iter_unpack(payload))
    for name, value in settings:
        _check(name, value)
    return settings


def _check(name: int, value: int) -> None:
    if name == frames.ENABLE_PUSH and value > 1:
        raise ConnectionFaultError(frames.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
    if name == frames.INITIAL_WINDOW_SIZE and value > frames.LARGEST_WINDOW:
        raise ConnectionFaultError(frames.FLOW_CONTROL_ERROR, "a window of more than 2^31 - 1 bytes")
    if name == frames.MAX_FRAME_SIZE and not frames.DEFAULT_FRAME_BYTES <= value < 1 << 24:
        raise ConnectionFaultError(frames.PROTOCOL_ERROR, "MAX_FRAME_SIZE is 2^14 to 2^24 - 1")
