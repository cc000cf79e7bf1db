"""Limits of a connection, met by clients that write bytes as they please."""

import asyncio
import contextlib
import functools
import gc
import json
import re
import socket
import threading
import time

import pytest
import uvicorn

from keras_bert_scratch.serving.server.connections import LimitedProtocol
from keras_bert_scratch.serving.server.limits import Limits

# Short, because tests wait for them, and long beside what a busy machine takes.
LIMITS = Limits(
    max_header_bytes=2000, max_headers=20, max_connections=10,
    header_timeout=0.6, body_timeout=0.6, idle_timeout=0.6,
)  # fmt: skip
GOOD = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody"


async def echo(scope, receive, send):
    """Answers with the path and the body; /slow after a second, /large with 20 MB."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    if scope["path"] == "/slow":
        await asyncio.sleep(1)
    content = scope["path"].encode() + b" " + body
    if scope["path"] == "/large":
        content = bytes(20_000_000)
    headers = [(b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    # As a server in which a client reads slowly does: what is written waits.
    for start in range(0, len(content), 1_000_000):
        piece = content[start : start + 1_000_000]
        more = start + 1_000_000 < len(content)
        await send({"type": "http.response.body", "body": piece, "more_body": more})


@pytest.fixture(scope="module")
def server():
    config = uvicorn.Config(
        echo,
        http=functools.partial(LimitedProtocol, limits=LIMITS),
        ws="none",
        lifespan="off",
        log_level="error",
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(config)
        running = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        running.start()
        while not server.started:
            time.sleep(0.01)
        server.address = listener.getsockname()
        yield server
        server.should_exit = True
        running.join(20)
        assert not running.is_alive()


@pytest.fixture
def connect(server):
    with contextlib.ExitStack() as stack:

        def connect():
            connection = socket.create_connection(server.address, timeout=5)
            return stack.enter_context(connection)

        yield connect


def answers(connection):
    """Reads until the server closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            received += part
    return received


def answer(connection, end=b"/a body"):
    """Reads until an answer's last bytes."""
    received = b""
    while not received.endswith(end):
        part = connection.recv(65536)
        assert part, received
        received += part
    return received


def test_requests_one_after_another_and_at_once(connect):
    connection = connect()
    connection.sendall(GOOD)
    answer(connection)
    connection.sendall(GOOD.replace(b"/a", b"/b") + GOOD.replace(b"/a", b"/c") + GOOD)
    assert re.findall(rb"/. body", answers(connection)) == [b"/b body", b"/c body", b"/a body"]


def test_a_client_that_waits_for_no_answer(connect):
    connection = connect()
    started = time.monotonic()
    connection.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n" * 5000)
    text = answers(connection)
    # One that is answered at once, and those that wait behind it.
    assert 17 <= text.count(b"200 OK") <= 18
    assert text.count(b"connection: close\r\n") == 1
    assert time.monotonic() - started < 2


def test_a_chunked_body(connect):
    connection = connect()
    head = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    # Framing takes more bytes than the headers may have.
    connection.sendall(head + b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n")
    assert answers(connection).endswith(b"/a " + b"x" * 2000)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 30_000_000,
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X%d: x\r\n" % n for n in range(300)),
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: x\r\n" * 21 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2000 + b"\r\n\r\n",
        b"GET /" + b"x" * 30_000_000,
        b"GET / HTTP/1.1\r\n" + b"x" * 3_000_000 + b": a\r\n\r\n",
        # Behind the body there may be more headers; a chunk may have a comment.
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * 1_000_000,
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 1_000_000,
    ],
    ids=["value", "many", "count", "whole", "address", "name", "trailer", "extension"],
)
def test_headers_too_large(connect, head):
    connection = connect()
    connection.sendall(head)
    text = answers(connection)
    assert text.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert "more than" in json.loads(text[text.index(b"\r\n\r\n") :])["error"]


def test_a_body_may_be_larger_than_headers(connect):
    connection = connect()
    head = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n"
    # The next request begins in the same piece as the first ends.
    connection.sendall(head + b"x" * 300_000 + GOOD[:30])
    time.sleep(0.1)
    connection.sendall(GOOD[30:])
    assert answers(connection).count(b"200 OK") == 2


def test_what_does_not_parse(connect):
    connection = connect()
    connection.sendall(b"hello\r\n\r\n")
    assert answers(connection).startswith(b"HTTP/1.1 400 Bad Request\r\n")


class TestTimeouts:
    def closes_after(self, connection, *pieces, wait=0.15):
        """Sends pieces, one at a time, until the server closes; returns its answers."""
        started, received = time.monotonic(), b""
        connection.settimeout(wait)
        for piece in pieces:
            with contextlib.suppress(OSError):
                connection.sendall(piece)
            try:
                part = connection.recv(65536)
            except TimeoutError:
                continue
            except ConnectionResetError:
                break
            if not part:
                break
            received += part
        return received, time.monotonic() - started

    def test_a_client_that_says_nothing(self, connect):
        received, seconds = self.closes_after(connect(), *[b""] * 30)
        assert received == b""
        assert seconds < 2

    def test_a_header_byte_by_byte(self, connect):
        received, seconds = self.closes_after(connect(), b"GET / HTTP/1.1\r\nX: ", *[b"x"] * 30)
        assert received.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"The headers did not come within 0.6 seconds." in received
        assert seconds < 4

    def test_a_body_byte_by_byte(self, connect):
        received, seconds = self.closes_after(connect(), GOOD[:-4], *[b"", b"x", b""] * 10)
        assert received.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"The body did not come" in received
        assert seconds < 4

    def test_what_is_no_request_does_not_keep_a_connection_open(self, connect):
        connection = connect()
        connection.sendall(GOOD)
        answer(connection)
        received, seconds = self.closes_after(connection, *[b"\r\n"] * 30)
        assert received == b""
        assert seconds < 2

    def test_an_idle_connection(self, connect):
        connection = connect()
        connection.sendall(GOOD)
        started = time.monotonic()
        assert answers(connection).count(b"200 OK") == 1
        assert 0.5 < time.monotonic() - started < 3

    def test_the_server_may_take_longer(self, connect):
        connection = connect()
        connection.sendall(GOOD.replace(b"/a", b"/slow") + GOOD)
        assert answers(connection).count(b"200 OK") == 2

    def test_a_client_that_does_not_read(self, server, connect):
        connection = connect()
        connection.sendall(GOOD.replace(b"/a", b"/large"))
        time.sleep(2)
        assert len(answers(connection)) < 20_000_000


def test_the_connection_that_waits_longest_makes_room(server, connect):
    busy = connect()
    busy.sendall(GOOD.replace(b"/a", b"/slow"))
    time.sleep(0.1)
    idle = [connect() for _ in range(40)]
    last = connect()
    last.sendall(GOOD)
    answer(last)
    assert len(server.server_state.connections) <= LIMITS.max_connections
    assert answers(busy).endswith(b"/slow body")
    assert all(answers(connection) == b"" for connection in idle)


def test_where_all_are_busy_the_newest_is_refused(connect):
    busy = [connect() for _ in range(LIMITS.max_connections)]
    for connection in busy:
        connection.sendall(GOOD.replace(b"/a", b"/slow"))
    time.sleep(0.2)
    text = answers(connect())
    assert text.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert all(answers(connection).endswith(b"/slow body") for connection in busy)


def test_another_protocol_is_not_spoken(connect):
    """Java's client asks for HTTP/2 in every first request."""
    upgrade = b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
    request = GOOD.replace(b"\r\n\r\n", upgrade)
    chunked = request.replace(b"Content-Length: 4", b"Transfer-Encoding: chunked")
    for sent in (
        [request],
        [request[:-4], request[-4:]],
        [request[:-2], request[-2:]],
        [chunked[:-4] + b"2\r\nbo\r\n", b"2\r\ndy\r\n0\r\n\r\n"],
        [request + GOOD],
    ):
        connection = connect()
        for piece in sent:
            connection.sendall(piece)
            time.sleep(0.05)
        text = answers(connection)
        assert text.endswith(b"/a body")
        assert text.count(b"200 OK") == 1
        assert b"connection: close\r\n" in text
    connection = connect()
    connection.sendall(b"GET /a HTTP/1.1\r\nHost: a" + upgrade)
    assert answers(connection).endswith(b"/a ")
    connection = connect()
    connection.sendall(chunked[:-4] + b"no chunk\r\n")
    assert answers(connection).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_nothing_is_left(server, connect):
    connections = [connect() for _ in range(5)]
    for connection in connections:
        connection.sendall(GOOD[:20])
        connection.close()
    deadline = time.monotonic() + 5
    while server.server_state.connections and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not server.server_state.connections
    time.sleep(2.2)  # The last of the timers.
    gc.collect()
    assert not [thing for thing in gc.get_objects() if isinstance(thing, LimitedProtocol)]
