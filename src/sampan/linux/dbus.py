"""A client of D-Bus (D-Bus Specification 0.41): calls, answers and signals. It knows what systemd needs, no more.

Of our own, as the runtime runs with the standard library alone; and by the C part of ``socket``, as it starts quickly.
"""

from __future__ import annotations

import _socket
import struct
import sys

from sampan.errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

_SECONDS = 25
"""As long a caller waits for an answer, as in libdbus."""
_LIMIT = 1 << 27
"""The longest message that there may be ("Message Protocol")."""
_ENDIAN = b"l" if sys.byteorder == "little" else b"B"
_FIXED = {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d", "h": "I"}
_CALL, _ANSWER, _ERROR, _SIGNAL = 1, 2, 3, 4
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_TO, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_BUS = "org.freedesktop.DBus"


class Refused(Unavailable):
    """An error that a service answered; ``name`` is D-Bus's for it."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class Message(NamedTuple):
    """One message. ``fields`` are those of its header by their codes."""

    kind: int
    fields: dict[int, Any]
    body: tuple[Any, ...]


class Bus:
    """A connection with the message bus at ``path``, for the user ``uid`` as the bus sees him.

    Raises Unavailable if nobody answers there.
    """

    def __init__(self, path: str, uid: int) -> None:
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._socket.settimeout(_SECONDS)
        self._path, self._serial, self._buffer = path, 0, b""
        self._signals: list[Message] = []
        try:
            self._socket.connect(f"\0{path[1:]}" if path.startswith("@") else path)
            self._authenticate(uid)
            self.call(_BUS, "/org/freedesktop/DBus", _BUS, "Hello")
        except OSError as error:
            self.close()
            raise Unavailable(f"the message bus {path} does not answer: {error.strerror or error}") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *rest: object) -> None:
        self.close()

    def call(
        self, service: str, path: str, interface: str, member: str, signature: str = "", *values: Any
    ) -> tuple[Any, ...]:
        """What a method answers. Raises Refused, and Unavailable if the bus is gone."""
        self._serial += 1
        fields = {
            _PATH: ("o", path),
            _INTERFACE: ("s", interface),
            _MEMBER: ("s", member),
            _DESTINATION: ("s", service),
        }
        try:
            self._socket.sendall(encode(_CALL, self._serial, fields, signature, values))
        except OSError as error:
            raise Unavailable(f"the message bus {self._path} does not listen: {error.strerror or error}") from None
        while True:
            message = self._receive()
            if message.kind == _SIGNAL:
                self._signals.append(message)
            elif message.fields.get(_REPLY_TO) == self._serial:
                break
        if message.kind == _ERROR:
            text = message.body[0] if message.body and isinstance(message.body[0], str) else ""
            raise Refused(message.fields[_ERROR_NAME], text or message.fields[_ERROR_NAME])
        return message.body

    def listen(self, interface: str, member: str) -> None:
        """From now on signals of this name arrive here, for ``await_signal``."""
        rule = f"type='signal',interface='{interface}',member='{member}'"
        self.call(_BUS, "/org/freedesktop/DBus", _BUS, "AddMatch", "s", rule)

    def await_signal(self, member: str, matches: Callable[[tuple[Any, ...]], bool]) -> tuple[Any, ...]:
        """The first signal of this name that ``matches``. Raises Unavailable if none comes in time."""
        while True:
            message = self._signals.pop(0) if self._signals else self._receive()
            if message.kind == _SIGNAL and message.fields.get(_MEMBER) == member and matches(message.body):
                return message.body

    def _authenticate(self, uid: int) -> None:
        """ "Authentication Protocol": the kernel tells the bus who we are, we say whom we take ourselves for."""
        self._socket.sendall(b"\0AUTH EXTERNAL " + str(uid).encode().hex().encode() + b"\r\n")
        line = b""
        while not line.endswith(b"\r\n"):
            more = self._socket.recv(256)
            if not more or len(line) > 1024:
                raise Unavailable(f"the message bus {self._path} does not let user {uid} in")
            line += more
        if not line.startswith(b"OK "):
            raise Unavailable(
                f"the message bus {self._path} does not let user {uid} in: {line.decode('ascii', 'replace').strip()}"
            )
        self._socket.sendall(b"BEGIN\r\n")

    def _receive(self) -> Message:
        head = self._read(16)
        endian, _, _, _, size, _, fields = struct.unpack("=cBBBIII", head)
        rest = fields + -fields % 8 + size
        if endian != _ENDIAN or rest > _LIMIT:
            raise Unavailable(f"the message bus {self._path} sent a message that cannot be read")
        return decode(head + self._read(rest))

    def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                more = self._socket.recv(1 << 16)
            except OSError as error:
                raise Unavailable(f"the message bus {self._path} does not answer: {error.strerror or error}") from None
            if not more:
                raise Unavailable(f"the message bus {self._path} closed the connection")
            self._buffer += more
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data


def encode(kind: int, serial: int, fields: dict[int, tuple[str, Any]], signature: str, values: Sequence[Any]) -> bytes:
    """A message ("Message Format"); ``fields`` are variants by their codes."""
    body = bytearray()
    for type_, value in zip(types(signature), values, strict=True):
        _put(body, type_, value)
    if signature:
        fields = {**fields, _SIGNATURE: ("g", signature)}
    head = bytearray(_ENDIAN + bytes((kind, 0, 1)))
    _put(head, "u", len(body))
    _put(head, "u", serial)
    _put(head, "a(yv)", list(fields.items()))
    _align(head, 8)
    return bytes(head + body)


def decode(data: bytes) -> Message:
    """A message of this machine's byte order."""
    fields, at = _get(data, 12, "a(yv)")
    at += -at % 8
    known = {code: value for code, (_, value) in fields}
    body = []
    for type_ in types(known.get(_SIGNATURE, "")):
        value, at = _get(data, at, type_)
        body.append(value)
    return Message(data[1], known, tuple(body))


def types(signature: str) -> list[str]:
    """The single complete types of a signature ("Signatures"): "sa(sv)" → "s", "a(sv)"."""
    found, start = [], 0
    while start < len(signature):
        end = _end(signature, start)
        found.append(signature[start:end])
        start = end
    return found


def _end(signature: str, at: int) -> int:
    if signature[at] == "a":
        return _end(signature, at + 1)
    if signature[at] not in "({":
        return at + 1
    depth = 0
    while True:
        depth += (signature[at] in "({") - (signature[at] in ")}")
        at += 1
        if not depth:
            return at


def _alignment(type_: str) -> int:
    if type_[0] in _FIXED:
        return struct.calcsize(f"={_FIXED[type_[0]]}")
    return {"(": 8, "{": 8, "g": 1, "v": 1}.get(type_[0], 4)


def _align(out: bytearray, boundary: int) -> None:
    out += bytes(-len(out) % boundary)


def _put(out: bytearray, type_: str, value: Any) -> None:
    """Adds a value; a variant is a pair of type and value, a dictionary a list of pairs ("Marshaling")."""
    code = type_[0]
    _align(out, _alignment(type_))
    if code in _FIXED:
        out += struct.pack(f"={_FIXED[code]}", value)
    elif code in "sog":
        data = value.encode()
        out += struct.pack("=B" if code == "g" else "=I", len(data)) + data + b"\0"
    elif code == "v":
        _put(out, "g", value[0])
        _put(out, *value)
    elif code in "({":
        for member, each in zip(types(type_[1:-1]), value, strict=True):
            _put(out, member, each)
    else:
        length = len(out)
        out += bytes(4)
        _align(out, _alignment(type_[1:]))
        start = len(out)
        for each in value:
            _put(out, type_[1:], each)
        struct.pack_into("=I", out, length, len(out) - start)


def _get(data: bytes, at: int, type_: str) -> tuple[Any, int]:
    """A value and where it ends; the reverse of ``_put``."""
    code = type_[0]
    at += -at % _alignment(type_)
    if code in _FIXED:
        form = f"={_FIXED[code]}"
        return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    if code in "sog":
        form = "=B" if code == "g" else "=I"
        size = struct.unpack_from(form, data, at)[0]
        at += struct.calcsize(form)
        return data[at : at + size].decode("utf-8", "replace"), at + size + 1
    if code == "v":
        inner, at = _get(data, at, "g")
        value, at = _get(data, at, inner)
        return (inner, value), at
    found = []
    if code in "({":
        for member in types(type_[1:-1]):
            value, at = _get(data, at, member)
            found.append(value)
        return tuple(found), at
    size, at = _get(data, at, "u")
    at += -at % _alignment(type_[1:])
    end = at + size
    while at < end:
        value, at = _get(data, at, type_[1:])
        found.append(value)
    return found, at
