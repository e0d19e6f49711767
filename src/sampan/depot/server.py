"""HTTP/1.1 for a registry: a thread for each connection, and h11 to read and write what goes over it."""

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NoReturn

import h11

from sampan.depot.routes import Answer, Content, Request

IDLE_SECONDS = 60.0
"""A client that neither sends nor takes anything for so long is left."""
HEAD_SECONDS = 20.0
"""A request's head has come by then."""
_CONNECTIONS = 200
_TLS_HANDSHAKE = b"\x16"
"""What a TLS connection begins with (RFC 8446, section 5.1), and no request does."""
_PAUSE_SECONDS = 0.1
"""Until files are closed, when too many are open."""
_CHUNK = 1 << 18
_LEFT_UNREAD = 1 << 20
"""Of the body of a request that was refused; for more, the connection is closed."""

Respond = Callable[[Request], Answer]
Log = Callable[[str], object]


def serve(listener: socket.socket, respond: Respond, log: Log) -> NoReturn:
    """Answers whoever connects, until KeyboardInterrupt. ``log`` gets a line for each request."""
    places = threading.BoundedSemaphore(_CONNECTIONS)
    while True:
        places.acquire()  # whoever comes when all are taken waits in the listener's queue
        try:
            peer, _ = listener.accept()
        except OSError as error:
            places.release()
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED):
                raise
            time.sleep(_PAUSE_SECONDS)
            continue
        threading.Thread(target=_converse, args=(peer, respond, log, places), daemon=True).start()


def _converse(peer: socket.socket, respond: Respond, log: Log, places: threading.BoundedSemaphore) -> None:
    try:
        with peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.settimeout(IDLE_SECONDS)
            connection = _Connection(peer)
            while connection.answer(respond, log):
                continue
    except (OSError, h11.ProtocolError):
        return  # the client is gone, or does not speak HTTP; each request of its that failed was logged
    finally:
        places.release()


class _Connection:
    """One client's connection, at whatever request it is."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._http = h11.Connection(h11.SERVER)

    def answer(self, respond: Respond, log: Log) -> bool:
        """Takes one request and answers it; whether another one may come."""
        try:
            head = self._head()
        except h11.RemoteProtocolError as error:
            self._send(Answer(error.error_status_hint, {"Connection": "close"}, b""), head=False)
            return False
        if head is None:
            return False
        method, target = head.method.decode("ascii"), head.target.decode("ascii", "replace")
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        try:
            answer = respond(Request(method, target, headers, self._body()))
        except Exception as error:  # the one request fails, the server goes on
            log(f"{method} {target} failed: {type(error).__name__}: {error}")
            self._send(Answer(500, {"Connection": "close"}, b""), head=method == "HEAD")
            return False
        try:
            drained = self._drain()
            if not drained:
                answer = answer._replace(headers={**answer.headers, "Connection": "close"})
            self._send(answer, head=method == "HEAD")
        finally:
            if isinstance(answer.body, Content):
                os.close(answer.body.fd)
        log(f"{method} {target} {answer.status}")
        if not drained or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    def _head(self) -> h11.Request | None:
        """None at the end of the connection."""
        deadline = time.monotonic() + IDLE_SECONDS
        begun = False
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._peer.settimeout(IDLE_SECONDS)
                return event
            if event is not h11.NEED_DATA:
                return None
            self._peer.settimeout(max(0.001, deadline - time.monotonic()))
            data = self._peer.recv(_CHUNK)
            if not begun and data[:1] == _TLS_HANDSHAKE:
                raise h11.RemoteProtocolError("this is TLS")  # at once: clients try that first, and wait for an answer
            self._http.receive_data(data)
            if not begun:
                begun, deadline = True, time.monotonic() + HEAD_SECONDS

    def _body(self) -> Iterator[bytes]:
        while True:
            if self._http.they_are_waiting_for_100_continue:
                self._peer.sendall(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif event is h11.NEED_DATA:
                self._http.receive_data(self._peer.recv(_CHUNK))
            else:
                return

    def _drain(self) -> bool:
        """Reads what is left of a request's body; whether that was worth it."""
        if self._http.they_are_waiting_for_100_continue:
            return False
        left = _LEFT_UNREAD
        while self._http.their_state is h11.SEND_BODY and left > 0:
            left -= sum(map(len, _some(self._body())))
        return self._http.their_state is not h11.SEND_BODY

    def _send(self, answer: Answer, *, head: bool) -> None:
        body = answer.body
        length = body.length if isinstance(body, Content) else len(body)
        fields = [*answer.headers.items(), ("Docker-Distribution-Api-Version", "registry/2.0")]
        if answer.status != 204:
            fields.append(("Content-Length", str(length)))
        begin = self._http.send(h11.Response(status_code=answer.status, headers=fields)) or b""
        if head or not length:
            self._peer.sendall(begin)
        elif isinstance(body, Content):
            self._peer.sendall(begin, socket.MSG_MORE)
            self._pour(body)
        else:
            self._peer.sendall(begin + (self._http.send(h11.Data(data=body)) or b""))
        self._http.send(h11.EndOfMessage())

    def _pour(self, content: Content) -> None:
        """Lets the kernel send a file."""
        # h11 counts the bytes, and hands back what it was given: none of them passes through here.
        self._http.send_with_data_passthrough(h11.Data(data=_Promise(content.length)))  # type: ignore[arg-type]
        start, end = content.start, content.start + content.length
        with open(content.fd, "rb", buffering=0, closefd=False) as file:
            while start < end:
                sent = self._peer.sendfile(file, start, min(_CHUNK * 16, end - start))
                if not sent:
                    raise OSError("the blob was cut while it was sent")
                start += sent


class _Promise:
    """Stands for bytes that are sent in another way."""

    __slots__ = ("_length",)

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


def _some(body: Iterator[bytes]) -> Iterator[bytes]:
    """The next piece, if there is one."""
    with suppress(StopIteration):
        yield next(body)
