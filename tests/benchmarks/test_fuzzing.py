"""A few thousand of the fuzzer's inputs, and whether it would tell what it looks for."""

import random
import time

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("name", "inputs"),
    [("readers", 2000), ("tables", 1000), ("columns", 100), ("labels", 2000), ("checkpoints", 200)],
)
def test_no_finds(benchmark, tmp_path, name, inputs):
    outcomes = benchmark.fuzz(benchmark.TARGETS[name](tmp_path), range(inputs), seed=1)
    # How long an input takes, the command tells: here other tests run beside it.
    assert [found for found in outcomes.finds if not found.startswith("slow")] == []
    assert sum(outcomes.counts.values()) == inputs
    # Neither are all inputs good, nor are all so bad that only the first check sees them.
    assert outcomes.counts["taken"] > inputs / 10
    assert outcomes.counts["ValueError"] > inputs / 10


@pytest.mark.slow
def test_texts(benchmark, tmp_path):
    target = benchmark.TARGETS["tokenizer"](tmp_path)
    outcomes = benchmark.fuzz(target, range(10), seed=1)
    assert (outcomes.finds, dict(outcomes.counts)) == ({}, {"taken": 2000})


class Faulty:
    """Does what the fuzzer must tell."""

    refusals = (ValueError,)
    inputs_per_case = 1
    floor = 64 << 20

    def __init__(self, act):
        self.act = act

    def case(self, draw):
        return draw.choice([self.act])


def run_away():
    until = time.process_time() + 1.01
    while time.process_time() < until:
        pass


@pytest.mark.parametrize(
    ("act", "place"),
    [
        (lambda: {}["x"], "KeyError at "),
        (lambda: int("x"), "ValueError at "),  # not raised by the package
        (lambda: np.ones(100 << 20, "uint8") and None, "ValueError at "),
        (lambda: np.ones(100 << 20, "uint8").sum() and None, "large, taken"),
        (run_away, "slow, taken"),
    ],
)
def test_what_is_found(benchmark, act, place):
    case = benchmark.Case(10, act, "the input")
    outcomes = benchmark.fuzz(Faulty(case), range(1), seed=0)
    assert any(found.startswith(place) for found in outcomes.finds)


def test_inputs_follow_from_seed_and_number(benchmark, tmp_path):
    target = benchmark.TARGETS["readers"](tmp_path)
    texts = [target.case(random.Random(f"0:{n}")).text for n in (0, 1, 0)]
    assert texts[0] == texts[2] != texts[1]


@pytest.mark.slow
def test_processes_of_their_own(benchmark):
    outcomes = benchmark.run("readers", 100, 350, seed=0)
    assert sum(outcomes.counts.values()) == 250
    assert outcomes.finds == {}
