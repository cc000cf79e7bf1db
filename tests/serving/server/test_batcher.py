"""Batches of concurrent rows, made of a function whose calls are written down."""

import asyncio
import threading
import time

import pytest

from keras_bert_scratch.serving.server.batcher import Batcher, QueueFullError


class Recorder:
    """Doubles numbers, refuses negative ones, and notes what it was called with."""

    def __init__(self, seconds=0.0):
        self.calls, self.threads, self.seconds = [], set(), seconds

    def __call__(self, key, rows):
        self.calls.append((key, rows))
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        if min(rows) < 0:
            raise ValueError(f"{min(rows)} is negative")
        return [2 * row for row in rows]


def run(recorder, scenario, **options):
    async def main():
        async with Batcher(recorder, **options) as batcher:
            return await scenario(batcher)

    return asyncio.run(asyncio.wait_for(main(), 20))


def test_rows_come_back_in_order_whatever_their_keys():
    recorder = Recorder()
    result = run(recorder, lambda batcher: batcher.run(["a", "b", "a"], [1, 2, 3]))
    assert result == [2, 4, 6]
    assert sorted(recorder.calls) == [("a", [1, 3]), ("b", [2])]


def test_concurrent_rows_share_calls_of_few_sizes():
    recorder = Recorder()

    async def eleven(batcher):
        return await asyncio.gather(*(batcher.run(["a"], [n]) for n in range(11)))

    assert run(recorder, eleven, max_wait=0.05) == [[2 * n] for n in range(11)]
    assert [len(rows) for _, rows in recorder.calls] == [8, 2, 1]


def test_a_full_batch_does_not_wait():
    recorder = Recorder()
    started = time.monotonic()
    result = run(recorder, lambda b: b.run(["a"] * 6, range(6)), max_batch_size=6, max_wait=15.0)
    assert result == [0, 2, 4, 6, 8, 10]
    assert recorder.calls == [("a", [0, 1, 2, 3, 4, 5])]
    assert time.monotonic() - started < 10


def test_the_first_key_to_arrive_comes_first():
    recorder = Recorder(seconds=0.02)

    async def in_turn(batcher):
        tasks = []
        for key in "cab":
            tasks.append(asyncio.create_task(batcher.run([key], [1])))
            await asyncio.sleep(0.001)
        await asyncio.gather(*tasks)

    run(recorder, in_turn, max_wait=0.01)
    assert [key for key, _ in recorder.calls] == ["c", "a", "b"]


def test_a_bad_row_fails_alone():
    async def one_bad(batcher):
        rows = [1, 2, -3, 4, 5, 6, 7, 8]
        return await asyncio.gather(
            *(batcher.run(["a"], [row]) for row in rows), return_exceptions=True
        )

    results = run(Recorder(), one_bad, max_wait=0.05)
    assert str(results.pop(2)) == "-3 is negative"
    assert results == [[2], [4], [8], [10], [12], [14], [16]]


def test_the_queue_is_bounded():
    recorder = Recorder(seconds=0.2)

    async def too_many(batcher):
        first = asyncio.create_task(batcher.run(["a"] * 4, [1] * 4))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            await batcher.run(["a"], [1])
        assert len(batcher) == 4
        assert await first == [2] * 4
        # There is room again.
        assert await batcher.run(["a"], [5]) == [10]

    run(recorder, too_many, capacity=4)


def test_rows_of_a_caller_who_has_gone_do_not_run():
    recorder = Recorder(seconds=0.1)

    async def impatient(batcher):
        first = asyncio.create_task(batcher.run(["a"], [1]))
        await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.run(["a"], [2]), 0.01)
        assert await first == [2]
        assert await batcher.run(["a"], [3]) == [6]

    run(recorder, impatient, max_wait=0.0)
    assert recorder.calls == [("a", [1]), ("a", [3])]


def test_the_event_loop_is_free_while_the_function_runs():
    recorder = Recorder(seconds=0.2)

    async def other_work(batcher):
        task = asyncio.create_task(batcher.run(["a"], [1]))
        ticks = 0
        while not task.done():
            await asyncio.sleep(0.005)
            ticks += 1
        return ticks

    assert run(recorder, other_work) > 5
    assert threading.get_ident() not in recorder.threads


def test_calls_are_observed():
    seen = []
    run(
        Recorder(seconds=0.01),
        lambda b: b.run(["a"] * 3, [1, 2, 3]),
        observe=lambda size, seconds: seen.append((size, seconds)),
    )
    assert [size for size, _ in seen] == [2, 1]
    assert all(0.01 <= seconds < 5 for _, seconds in seen)
