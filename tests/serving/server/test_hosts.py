"""Who is asked: the header Host, against DNS rebinding."""

import asyncio
import json
import socket

import pytest

from keras_bert_scratch.serving.server.hosts import KnownHosts, hosts_of


def ask(hosts, *values, version="1.1"):
    """Returns the status, and the error, of a request with these headers Host."""
    sent = []

    async def app(scope, receive, send):
        sent.append({"status": 200})

    async def send(message):
        sent.append(message)

    headers = [(b"host", value.encode("latin-1")) for value in values]
    scope = {"type": "http", "http_version": version, "method": "GET", "headers": headers}
    asyncio.run(KnownHosts(app, hosts)(scope, None, send))
    return sent[0]["status"], json.loads(sent[1]["body"])["error"] if len(sent) > 1 else None


LOCAL = ["localhost", "localhost:8501", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8501"]


@pytest.mark.parametrize("value", [*LOCAL, "LocalHost:8501", "localhost.", "localhost:"])
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::", "example.org"])
def test_local_names_are_always_known(address, value):
    assert ask(hosts_of(address), value) == (200, None)


@pytest.mark.parametrize(
    "value",
    [
        "films.example", "films.example:8501", "localhost.films.example", "127.0.0.1.example",
        "xlocalhost", "", " ", "localhost:80:80", "localhost:x", "localhost/", "user@localhost",
        "[::1", "::1", "[films.example]", "localhost, films.example", "l\xf6calhost", "0.0.0.0",
    ],
)  # fmt: skip
def test_others_are_refused(value):
    status, error = ask(hosts_of("127.0.0.1"), value)
    assert status == 400
    assert "start it with --allowed-host NAME if that is one of its names" in error
    assert value in error


def test_the_address_it_listens_at_is_known():
    assert ask(hosts_of("192.0.2.7"), "192.0.2.7:8501")[0] == 200
    assert ask(hosts_of("192.0.2.7"), "192.0.2.8:8501")[0] == 400
    assert ask(hosts_of("2001:db8::7"), "[2001:db8::7]:8501")[0] == 200
    assert ask(hosts_of("Films.example"), "films.EXAMPLE")[0] == 200


@pytest.mark.parametrize("address", ["0.0.0.0", "::", ""])
def test_at_all_addresses_it_is_asked_by_any_of_them(address):
    """As Kubernetes' probes do; a page of a stranger has a name."""
    hosts = hosts_of(address)
    for value in ("192.0.2.7", "192.0.2.8:8501", "[2001:db8::7]:80", socket.gethostname()):
        assert ask(hosts, value)[0] == 200
    for value in ("films.example", "192.0.2.7.example", "addresses.example", "[x]"):
        assert ask(hosts, value)[0] == 400


def test_more_names():
    assert ask([*hosts_of("127.0.0.1"), "Films"], "films:80")[0] == 200
    assert ask(["*"], "films.example")[0] == 200
    assert ask(["*"])[0] == 200


def test_none_and_several():
    assert ask(hosts_of("127.0.0.1")) == (400, ask(hosts_of("127.0.0.1"))[1])
    assert "received none" in ask(hosts_of("127.0.0.1"))[1]
    assert ask(hosts_of("127.0.0.1"), "localhost", "localhost")[0] == 400
    # Old load balancers send none.
    assert ask(hosts_of("127.0.0.1"), version="1.0")[0] == 200
