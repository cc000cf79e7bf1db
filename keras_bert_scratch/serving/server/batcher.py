"""Dynamic batching: rows that arrive at about the same time run together, in a separate thread.

Rows may be of any type that the caller's function takes lists of. Rows with the same key may share
a call.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import dataclasses
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any

# The key is hashable. Its type is Any, because only the caller knows more.
Call = Callable[[Any, list[Any]], list[Any]]


class QueueFullError(Exception):
    """The queue has no room for the rows; it may have later."""


@dataclasses.dataclass(eq=False)
class _Row:
    value: Any
    answer: asyncio.Future
    arrived: float


class Batcher:
    """Runs a function on batches of rows from concurrent callers.

    A batch consists of the row that has waited longest and others with its key. It starts when the
    previous batch is done and it is full or its first row has waited for `max_wait` seconds. Batch
    sizes are powers of two or `max_batch_size`, so that the function sees few different sizes; the
    remaining rows wait for the next batch.

    If the function fails on a batch, the batch is halved until the rows that cause the failure are
    found: only those rows fail.

    Use it as an async context manager. On exit, rows that still wait are cancelled.

    Args:
        call: Function that takes a key and a list of rows and returns one result per row. It runs
            in a thread.
        max_batch_size: Largest number of rows in a call.
        max_wait: Seconds that a row waits for others to fill its batch.
        capacity: Largest number of rows that wait.
        observe: Called with the size and the seconds of every call.

    Example:
        >>> async with Batcher(lambda key, rows: [2 * row for row in rows]) as batcher:
        ...     await asyncio.gather(batcher.run(["a"], [1]), batcher.run(["a", "a"], [2, 3]))
        [[2], [4, 6]]
    """

    def __init__(
        self,
        call: Call,
        *,
        max_batch_size: int = 32,
        max_wait: float = 0.002,
        capacity: int = 1024,
        observe: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self._call = call
        self._max_batch_size = max_batch_size
        self._max_wait = max_wait
        self._capacity = capacity
        self._observe = observe
        self._waiting: dict[Hashable, collections.deque[_Row]] = {}
        self._arrival = asyncio.Event()
        # One thread, since a call of TensorFlow uses all cores.
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="model")

    async def __aenter__(self) -> "Batcher":
        self._worker = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._worker
        for rows in self._waiting.values():
            for row in rows:
                row.answer.cancel()
        self._thread.shutdown()

    @property
    def is_working(self) -> bool:
        """Whether the batcher can still answer rows."""
        return not self._worker.done()

    def __len__(self) -> int:
        """Returns the number of rows that wait."""
        return sum(map(len, self._waiting.values()))

    async def run(self, keys: Sequence[Hashable], rows: Sequence[Any]) -> list[Any]:
        """Adds rows to the queue and waits for their results.

        Args:
            keys: Key of each row.
            rows: Rows for the function.

        Returns:
            One result per row.

        Raises:
            QueueFullError: If more rows than the capacity would wait.
            Exception: The error that the function raised for one of the rows.
        """
        if len(self) + len(rows) > self._capacity:
            raise QueueFullError
        loop, now = asyncio.get_running_loop(), time.monotonic()
        answers = []
        for key, value in zip(keys, rows, strict=True):
            row = _Row(value, loop.create_future(), now)
            self._waiting.setdefault(key, collections.deque()).append(row)
            answers.append(row.answer)
        self._arrival.set()
        try:
            return await asyncio.gather(*answers)
        finally:
            # If one row fails or the caller goes away, the others need not run.
            for answer in answers:
                answer.cancel()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._forget_cancelled()
            if not self._waiting:
                await self._next_arrival(None)
                continue
            key = min(self._waiting, key=lambda key: self._waiting[key][0].arrived)
            rows = self._waiting[key]
            patience = rows[0].arrived + self._max_wait - time.monotonic()
            if len(rows) < self._max_batch_size and patience > 0:
                await self._next_arrival(patience)
                continue
            is_full = len(rows) >= self._max_batch_size
            size = self._max_batch_size if is_full else 2 ** (len(rows).bit_length() - 1)
            batch = [rows.popleft() for _ in range(size)]
            values = [row.value for row in batch]
            results = await loop.run_in_executor(self._thread, self._results, key, values)
            for row, result in zip(batch, results, strict=True):
                if row.answer.done():
                    continue
                if isinstance(result, Exception):
                    row.answer.set_exception(result)
                else:
                    row.answer.set_result(result)

    async def _next_arrival(self, timeout: float | None) -> None:
        self._arrival.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._arrival.wait()

    def _forget_cancelled(self) -> None:
        for key, rows in list(self._waiting.items()):
            kept = collections.deque(row for row in rows if not row.answer.done())
            if kept:
                self._waiting[key] = kept
            else:
                del self._waiting[key]

    def _results(self, key: Hashable, rows: list[Any]) -> list[Any]:
        """Calls the function; the result of a row that fails is its exception."""
        started = time.perf_counter()
        try:
            results = self._call(key, rows)
        except Exception as error:
            if len(rows) == 1:
                return [error]
            middle = len(rows) // 2
            return self._results(key, rows[:middle]) + self._results(key, rows[middle:])
        self._observe(len(rows), time.perf_counter() - started)
        return results
