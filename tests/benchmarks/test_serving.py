"""The server's load test at a small size: a real server on loopback, stopped and killed."""

import statistics

import pytest


@pytest.fixture(scope="module")
def cases(benchmark, versioned_export):
    return benchmark.make_cases(versioned_export[1])


def test_no_request_fails(benchmark, versioned_export, cases):
    load = benchmark.mixed(versioned_export[1], cases, requests=600, clients=16)
    assert load.wrong == []
    assert load.nobody_there == 0
    assert set(load.statuses) == {200, 400, 404, 405, 413}
    assert sum(load.statuses.values()) == 600


@pytest.mark.slow
def test_no_answer_is_wrong_while_the_server_stops_and_starts(benchmark, versioned_export, cases):
    load = benchmark.restarts(versioned_export[1], cases, requests=600, clients=8)
    assert load.wrong == []
    assert sum(load.statuses.values()) == 600
    # Clients did meet the restarts.
    assert load.nobody_there > 0


@pytest.mark.slow
def test_strangers_cannot_fill_it(benchmark, versioned_export, cases):
    flood = benchmark.flood(versioned_export[1], cases, requests=1000, clients=16)
    assert flood.load.wrong == []
    assert flood.load.nobody_there == 0
    assert flood.unexpected == []
    assert flood.peak_bytes <= 1.2 * flood.idle_bytes
    # The median, because tests share their machine; the benchmark tells the longest.
    assert statistics.median(flood.health_seconds) < 0.1


def test_a_wrong_answer_is_noticed(benchmark):
    case = benchmark.Case("/", b"", 200, {"a": [0.5, "x"]})
    assert case.is_right(200, {"a": [0.500001, "x"]})
    assert not case.is_right(200, {"a": [0.51, "x"]})
    assert not case.is_right(200, {"a": [0.5, "y"]})
    assert not case.is_right(200, {"a": [0.5]})
    assert not case.is_right(400, {"error": "a reason of some length"})
    assert not benchmark.Case("/", b"", 400).is_right(400, {"error": ""})
