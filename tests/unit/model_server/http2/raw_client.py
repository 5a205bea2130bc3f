"""A client that sends whatever frames a test wants, right or wrong, and shows every frame that comes back.

It keeps to flow control where a test does not send frames by itself, acknowledges settings and answers pings.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import selectors
import socket
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW = 65535
LARGEST = 2**31 - 1
FRAME_BYTES = 16384
CHECK = "/grpc.health.v1.Health/Check"
# A client that is not answered for so long has found a defect.
_SECONDS = 60.0

Fields = Sequence[tuple[str, str]]


class Kind(enum.IntEnum):
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9
    UNKNOWN = 0x42


END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20


class Setting(enum.IntEnum):
    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    UNKNOWN = 0x4242


class Error(enum.IntEnum):
    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


@dataclasses.dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def number(self) -> int:
        """The last four bytes: an error code, a window's growth."""
        return int(struct.unpack(">I", self.payload[-4:])[0])


@dataclasses.dataclass
class Answer:
    """What has come back in one stream. `reset` is the code of a RST_STREAM."""

    head: dict[str, str] = dataclasses.field(default_factory=dict)
    trailers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""
    data_frames: list[int] = dataclasses.field(default_factory=list)
    blocks: int = 0
    ended: bool = False
    reset: int | None = None

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None

    @property
    def http(self) -> int:
        return int(self.head[":status"])

    @property
    def status(self) -> int | None:
        """`grpc-status`: in the trailers, or in the only header block."""
        text = self.trailers.get("grpc-status", self.head.get("grpc-status"))
        return None if text is None else int(text)

    @property
    def message(self) -> str:
        return self.trailers.get("grpc-message", self.head.get("grpc-message", ""))


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    size = len(payload)
    return struct.pack(">BHBBI", size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def settings(values: Mapping[int, int]) -> bytes:
    return b"".join(struct.pack(">HI", name, value) for name, value in values.items())


def literal(fields: Iterable[tuple[str, str]]) -> bytes:
    """A header block that neither needs nor changes the table."""
    block = b""
    for words in fields:
        block += b"\x00"
        for word in words:
            block += hpack.hpack.encode_integer(len(word), 7) + word.encode("latin-1")
    return block


def request(path: str = CHECK, *, without: str = "", others: Fields = ()) -> list[tuple[str, str]]:
    """The header fields of a call; `others` take the place of fields of the same name, but come last."""
    usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    named = {name for name, _ in others}
    kept = [(name, value) for name, value in usual if name not in named and name != without]
    pseudo = [field for field in others if field[0].startswith(":")]
    return [*pseudo, *kept, *(field for field in others if not field[0].startswith(":"))]


def message(content: bytes = b"", packed: int = 0) -> bytes:
    """gRPC's message: whether it is compressed, its length, itself."""
    return struct.pack(">BI", packed, len(content)) + content


class Connection:
    """One connection; a context manager. `windows` grants the server all that there is."""

    def __init__(
        self, port: int, values: Mapping[int, int] | None = None, *, windows: bool = True, receive_bytes: int = 0
    ) -> None:
        """`receive_bytes` makes the system's buffer for what comes that small."""
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(_SECONDS)
        # Frames of few bytes would wait for each other's acknowledgement.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(("127.0.0.1", port))
        self._unread = b""
        self._decoder = hpack.Decoder()
        self._encoder = hpack.Encoder()
        self._block: tuple[int, bytes] | None = None
        self._next = 1
        self.answers: dict[int, Answer] = {}
        self.frames: list[Frame] = []
        self.away: list[Frame] = []
        self.ended = False
        self.theirs: dict[int, int] = {}
        self.settled = 0
        self.pongs = 0
        self.window = WINDOW
        self._windows: dict[int, int] = {}
        values = dict(values or {})
        if Setting.HEADER_TABLE_SIZE in values:
            self._decoder.max_allowed_table_size = min(values[Setting.HEADER_TABLE_SIZE], 65536)
        if windows:
            values.setdefault(Setting.INITIAL_WINDOW_SIZE, LARGEST)
        first = PREFACE + frame(Kind.SETTINGS, payload=settings(values))
        self.send_bytes(first + (window_update(0, LARGEST - WINDOW) if windows else b""))

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send_bytes(self, content: bytes) -> None:
        """Raises OSError when the server has ended the connection."""
        self.socket.sendall(content)

    def send(self, kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> None:
        self.send_bytes(frame(kind, flags, stream, payload))

    def open(self, fields: Fields | None = None, *, end: bool = False) -> int:
        """Begin a call; its stream."""
        stream = self.next_stream()
        block = self.packed(fields or request())
        self.send(Kind.HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)
        return stream

    def packed(self, fields: Fields) -> bytes:
        """A header block that has to be sent: it refers to the table, and may change that."""
        return self._encoder.encode(list(fields))

    def fields(self, stream: int, fields: Fields) -> None:
        """Send fields that end a stream."""
        self.send(Kind.HEADERS, END_HEADERS | END_STREAM, stream, self.packed(fields))

    def next_stream(self) -> int:
        """A stream for frames that a test makes itself."""
        stream, self._next = self._next, self._next + 2
        return stream

    def data(self, stream: int, content: bytes, *, end: bool = True) -> None:
        """Send within the server's windows; waits for them to grow. Stops when the stream or the connection ends."""
        while content:
            self.read_until(lambda: self.room(stream) > 0 or self._is_over(stream))
            if self._is_over(stream):
                return
            size = min(self.room(stream), FRAME_BYTES, len(content))
            part, content = content[:size], content[size:]
            self.spend(stream, size)
            self.send(Kind.DATA, END_STREAM if end and not content else 0, stream, part)

    def spend(self, stream: int, size: int) -> None:
        """Count what a test sends itself against the server's windows."""
        self.window -= size
        self._windows[stream] = self._windows.get(stream, 0) - size

    def call(self, fields: Fields | None = None, body: bytes | None = None) -> Answer:
        """Make a call, by default a health check of the whole server, and wait for its end."""
        stream = self.open(fields)
        self.data(stream, message() if body is None else body)
        return self.answer(stream)

    def answer(self, stream: int) -> Answer:
        """Wait for a stream's end, and fail where the connection ends before."""
        self.read_until(lambda: self._answer(stream).over)
        return self._answer(stream)

    def so_far(self, stream: int) -> Answer:
        """What has come in a stream until now."""
        return self._answer(stream)

    def ping(self) -> None:
        """Wait until the server has answered a ping: it has read what was sent before."""
        wanted = self.pongs + 1
        self.send(Kind.PING, payload=b"8 bytes.")
        self.read_until(lambda: self.pongs >= wanted)

    def read_until(self, holds: Callable[[], bool]) -> None:
        """Read frames until something is so. Fails where the connection ends before."""
        while not holds():
            assert self.read_frame(), f"the connection ended; GOAWAY: {[(f.number, f.payload) for f in self.away]}"

    def read_to_the_end(self) -> None:
        """Read frames until the server ends the connection."""
        while self.read_frame():
            pass

    def wait_for_end_of(self, stream: int) -> Error | None:
        """The code with which the server ends the stream or the connection; None where that is just closed.

        An answer's status is no such code: it is NO_ERROR.
        """
        while not self._answer(stream).over and not self.away and self.read_frame():
            pass
        if self.away:
            return Error(struct.unpack(">I", self.away[-1].payload[4:8])[0])
        reset = self._answer(stream).reset
        if reset is not None:
            return Error(reset)
        return Error.NO_ERROR if self._answer(stream).ended else None

    def flood(self, content: bytes, times: int) -> int:
        """Send the same bytes many times and read nothing; how often until the server took no more or ended it."""
        self.socket.setblocking(False)
        block = content * max(1, 65536 // len(content))
        sent, wanted = 0, len(content) * times
        with contextlib.suppress(OSError), selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_WRITE)
            while sent < wanted and selector.select(_SECONDS_STUCK):
                begin = sent % len(block)
                sent += self.socket.send(block[begin : begin + wanted - sent])
        self.socket.settimeout(_SECONDS)
        return sent // len(content)

    @property
    def last_stream(self) -> int:
        """The last stream that the server has promised to answer."""
        return int(struct.unpack(">I", self.away[-1].payload[:4])[0]) if self.away else LARGEST

    def room(self, stream: int) -> int:
        """How many bytes the server lets this client send in a stream."""
        initial = self.theirs.get(Setting.INITIAL_WINDOW_SIZE, WINDOW)
        return min(self.window, initial + self._windows.get(stream, 0))

    def _is_over(self, stream: int) -> bool:
        return self._answer(stream).over

    def _answer(self, stream: int) -> Answer:
        return self.answers.setdefault(stream, Answer())

    def _fill(self, size: int) -> bool:
        while len(self._unread) < size:
            try:
                more = self.socket.recv(262144)
            except ConnectionError:
                more = b""
            if not more:
                self.ended = True
                return False
            self._unread += more
        return True

    def read_frame(self) -> bool:
        """Read one frame, and do what a client has to do about it; False at the connection's end."""
        if not self._fill(9):
            return False
        high, low, kind, flags, stream = struct.unpack_from(">BHBBI", self._unread)
        size = (high << 16) + low
        if not self._fill(9 + size):
            return False
        got = Frame(kind, flags, stream, self._unread[9 : 9 + size])
        self._unread = self._unread[9 + size :]
        self.frames.append(got)
        self._take(got)
        return True

    def _take(self, got: Frame) -> None:
        match got.kind:
            case Kind.SETTINGS if got.flags & ACK:
                self.settled += 1
            case Kind.SETTINGS:
                self.theirs.update(struct.iter_unpack(">HI", got.payload))
                self._reply(frame(Kind.SETTINGS, ACK))
            case Kind.PING if got.flags & ACK:
                self.pongs += 1
            case Kind.PING:
                self._reply(frame(Kind.PING, ACK, payload=got.payload))
            case Kind.GOAWAY:
                self.away.append(got)
            case Kind.WINDOW_UPDATE if got.stream == 0:
                self.window += got.number
            case Kind.WINDOW_UPDATE:
                self._windows[got.stream] = self._windows.get(got.stream, 0) + got.number
            case Kind.RST_STREAM:
                self._answer(got.stream).reset = got.number
            case Kind.DATA:
                answer = self._answer(got.stream)
                answer.body += got.payload
                answer.data_frames.append(len(got.payload))
                answer.ended = bool(got.flags & END_STREAM)
            case Kind.HEADERS | Kind.CONTINUATION:
                self._take_headers(got)

    def _take_headers(self, got: Frame) -> None:
        flags, block = (self._block or (got.flags, b""))[0], (self._block or (0, b""))[1] + got.payload
        if not got.flags & END_HEADERS:
            self._block = (flags, block)
            return
        self._block = None
        answer = self._answer(got.stream)
        fields = {str(name): str(value) for name, value in self._decoder.decode(block)}
        if answer.blocks:
            answer.trailers = fields
        else:
            answer.head = fields
        answer.blocks += 1
        answer.ended = bool(flags & END_STREAM)

    def _reply(self, content: bytes) -> None:
        # A server that ends a connection need not read what its client still says.
        with contextlib.suppress(OSError):
            self.send_bytes(content)


# A server that reads nothing for so long has stopped to, until its client reads.
_SECONDS_STUCK = 1.0


def window_update(stream: int, growth: int) -> bytes:
    return frame(Kind.WINDOW_UPDATE, stream=stream, payload=struct.pack(">I", growth))
