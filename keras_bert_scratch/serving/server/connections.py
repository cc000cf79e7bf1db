"""uvicorn's HTTP protocol with limits on headers, time and the number of connections.

uvicorn limits neither the size of headers nor the time to wait for a client, which may send one
byte a minute, or none.
"""

import asyncio
import json
import types
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from keras_bert_scratch.serving.server.limits import Limits

# Seconds that a refused client has to read the reason before it is disconnected.
_LAST_SECONDS = 2.0
# Largest number of requests of one connection that wait behind the one being answered.
_MAX_PIPELINE = 16


class LimitedProtocol(HttpToolsProtocol):
    """A connection.

    At any time the server either works on an answer or waits, with a timeout, for the client to
    begin a request, to complete its headers or to complete its body.

    Args:
        limits: Limits on what the client may send.
        *args: Arguments of uvicorn's protocol.
        **kwargs: Keyword arguments of uvicorn's protocol.
    """

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._waits_for: str | None = None
        self._waiting_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        # Bytes that the parser holds back, because the header is incomplete.
        self._held_bytes = 0
        self._refusal: tuple[int, str] | None = None
        self._is_refused = False

    # === Events of the socket ===
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Makes room for the connection."""
        super().connection_made(transport)
        self._wait("request", self._limits.header_timeout)
        if len(self.connections) <= self._limits.max_connections:
            return
        waiting = [c for c in self.connections if isinstance(c, LimitedProtocol) and c._waits_for]
        longest = min(waiting, key=lambda connection: connection._waiting_since)
        if longest is self:
            self._refuse(503, "All connections are in use: try again later.")
        else:
            longest._stop_waiting()
            longest.transport.abort()
            # Now, since others may arrive before the loop reports the loss.
            self.connections.discard(longest)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timers."""
        self._stop_waiting()
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses the data, unless the request was refused."""
        if self._is_refused:
            return
        self._held_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            if not self._is_refused:
                self._refuse(*(self._refusal or (400, "Invalid HTTP request received.")))
        if self._held_bytes > self._limits.max_header_bytes and not self._is_refused:
            self._refuse(*self._too_large())

    def pause_writing(self) -> None:
        """Gives the client time to read its answer."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self._limits.body_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """Stops the timer, since the client reads."""
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().resume_writing()

    # === Events of the parser ===
    def on_message_begin(self) -> None:
        """Starts to wait for the headers."""
        if len(self.pipeline) >= _MAX_PIPELINE:
            # The accepted requests are answered; the client may repeat the others.
            self._is_refused, self.cycle.keep_alive = True, False
            raise ValueError("Too many requests without an answer.")
        super().on_message_begin()
        self._head_bytes = self._held_bytes = 0
        self._wait("headers", self._limits.header_timeout)

    def on_url(self, url: bytes) -> None:
        """Counts a part of the address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Counts a header, or a trailer of a chunked body."""
        self._count(len(name) + len(value))
        super().on_header(name, value)
        if len(self.headers) > self._limits.max_headers:
            limit = self._limits.max_headers
            self._refusal = 431, f"The request has more than {limit} headers: send fewer."
            raise ValueError(self._refusal)

    def on_headers_complete(self) -> None:
        """Starts to wait for the body."""
        self._held_bytes = 0
        self._wait("body", self._limits.body_timeout)
        super().on_headers_complete()
        if self.parser.should_upgrade():
            # A request for another protocol is answered in this one, and is the last one read.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Takes a part of the body."""
        self._held_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stops waiting, since the request is complete."""
        if self.parser.should_upgrade():
            return  # The parser assumes that it has no body.
        self._held_bytes = 0
        self._stop_waiting()
        super().on_message_complete()
        if self.cycle.response_complete:
            self._wait("request", self._limits.idle_timeout)

    def on_response_complete(self) -> None:
        """Starts to wait for another request."""
        super().on_response_complete()
        # uvicorn's own timer would restart with every byte.
        self._unset_keepalive_if_required()
        if self._waits_for is None and self.cycle.response_complete:
            self._wait("request", self._limits.idle_timeout)

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_on(data[upgrade.args[0] :])

    def _read_on(self, data: bytes) -> None:
        """Reads the body of a request for another protocol, which the parser does not read.

        Java's HTTP client sends such requests, for HTTP/2, by default.
        """

        def on_body(body: bytes) -> None:
            if self._waits_for == "body":
                self.on_body(body)

        callbacks = types.SimpleNamespace(
            on_body=on_body, on_message_complete=self.on_message_complete
        )
        self.parser = httptools.HttpRequestParser(callbacks)
        names = (b"content-length", b"transfer-encoding")
        framing = [b"%s: %s\r\n" % header for header in self.headers if header[0] in names]
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n" + data)

    # === Limits ===
    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.max_header_bytes:
            self._refusal = self._too_large()
            raise ValueError(self._refusal)

    def _too_large(self) -> tuple[int, str]:
        limit = self._limits.max_header_bytes
        return 431, f"The headers have more than {limit} bytes: send fewer or shorter ones."

    def _wait(self, for_what: str, seconds: float) -> None:
        self._stop_waiting()
        self._waits_for, self._waiting_since = for_what, self.loop.time()
        self._timer = self.loop.call_later(seconds, self._overdue, seconds)

    def _stop_waiting(self) -> None:
        self._waits_for = None
        if self._timer is not None:
            self._timer.cancel()

    def _overdue(self, seconds: float) -> None:
        assert self._waits_for is not None
        if self.flow.read_paused:
            # The client waits for the server, not the server for the client.
            self._wait(self._waits_for, seconds)
        elif self._waits_for == "request":
            self._stop_waiting()
            self.transport.close()
            # Unread data would keep the connection open.
            self.loop.call_later(_LAST_SECONDS, self.transport.abort)
        else:
            self._refuse(408, f"The {self._waits_for} did not come within {seconds:g} seconds.")

    def _refuse(self, status: int, message: str) -> None:
        """Answers with an error, unless another answer has begun, and accepts no more requests."""
        is_body = self._waits_for == "body"
        self._is_refused = True
        self._stop_waiting()
        cycle = self.cycle
        is_free = cycle is None or cycle.response_complete
        if not is_free and is_body and not self.pipeline and not cycle.response_started:
            # The request whose body is refused: its reader is told that the client has gone.
            cycle.disconnected = is_free = True
            cycle.message_event.set()
        if not is_free:
            self.transport.abort()
            return
        content = json.dumps({"error": message}).encode()
        head = [
            STATUS_LINE[status],
            b"content-type: application/json\r\n",
            b"content-length: %d\r\n" % len(content),
            b"connection: close\r\n\r\n",
        ]
        self.transport.write(b"".join(head) + content)
        # Closing at once, with unread bytes, would reset the connection and lose the answer:
        # further data is dropped until the client has read the answer and closes.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(_LAST_SECONDS, self.transport.abort)
