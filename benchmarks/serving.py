"""Load test of the server on loopback: mixed requests, restarts under load, throughput.

    python benchmarks/serving.py                                  # a tiny model with random weights
    python benchmarks/serving.py --checkpoint saved_models/films  # a classifier of yours

1. Thousands of requests, good and bad, from many clients at once. A good one must be answered as
   the export answers it alone in this process, within 1e-5; a bad one by 4xx and a reason.
2. The server is stopped (SIGTERM), and killed (SIGKILL), and started again, under load. Clients
   try again if nobody listens; no answer may be wrong.
3. Attackers try to exhaust the server while good requests come in: bodies of 90 kB with strings
   among numbers, 30 MB of headers, 300 connections that say nothing, others that send a body
   byte by byte or read no answer, gzip that unpacks to 100 MB, other Hosts. No good request may be
   answered wrongly, memory stays within 1.2 times that at rest, and /healthz answers within 0.1 s.
4. Throughput on short texts, beside the same server with an int8 LiteRT file, with batches of one,
   and beside a plain Keras `predict` behind the same ASGI stack. They take turns, several times;
   the medians count. Here, too, answers are compared with those of the export, or of the file.

Clients and server share the machine.
"""

import argparse
import asyncio
import collections
import concurrent.futures
import contextlib
import dataclasses
import gzip
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

NAME = "films"
MAX_TEXT_BYTES = 20_000
TOLERANCE = 1e-5
WORDS = ["a", "the", "very", "good", "great", "bad", "awful", "film", "movie", "über"]
HARD_WORDS = ["café", "naïve", "电影", "棒", "👍", ",", ".", "!", "[SEP]", "\u0000"]


# === Requests ===
@dataclasses.dataclass(frozen=True)
class Case:
    """A request and its expected answer.

    Args:
        path: Path of the address.
        body: Body of the POST request.
        status: Status code of the answer.
        expected: JSON of the answer. None to check only the status, and that an error has a reason.
    """

    path: str
    body: bytes
    status: int
    expected: Any = None

    def is_right(self, status: int, answer: Any) -> bool:
        """Whether an answer is the expected one."""
        if status != self.status:
            return False
        if self.expected is None:
            return status == 200 or len(answer["error"]) > 10
        return _is_close(answer, self.expected)


def _is_close(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= TOLERANCE * max(1.0, abs(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return set(one) == set(other) and all(_is_close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_close, one, other))
    return bool(one == other)


def make_cases(export: Path, seed: int = 0) -> list[Case]:
    """Makes good and bad requests of every kind, two thirds of them good."""
    from keras_bert_scratch.serving.server.served_model import ServedModel, serialized_example

    model, rng = ServedModel(export), random.Random(seed)
    predict, classify = f"/v1/models/{NAME}:predict", f"/v1/models/{NAME}:classify"

    def text() -> str:
        return " ".join(
            rng.choices(WORDS + HARD_WORDS, k=rng.choice([0, 1, 3, 5, 8, 12, 20, 40, 200]))
        )

    def alone(signature: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [model.run(signature, [row])[0] for row in rows]

    good: list[tuple[str, Any, Any]] = []
    for _ in range(40):
        texts = [text() for _ in range(rng.choice([1, 1, 1, 4]))]
        rows = [{"text": t.encode()} for t in texts]
        answers = alone("serving_default", rows)
        columns = {name: [answer[name] for answer in answers] for name in answers[0]}
        good += [
            (predict, {"instances": texts}, {"predictions": answers}),
            (predict, {"inputs": {"text": texts}}, {"outputs": columns}),
        ]
        examples = [{"inputs": serialized_example({"text": [t.encode()]})} for t in texts]
        results = [
            [list(pair) for pair in zip(answer["classes"], answer["scores"], strict=True)]
            for answer in alone("classify", examples)
        ]
        good.append((classify, {"examples": [{"text": t} for t in texts]}, {"results": results}))
        content: dict[str, Any] = {"signature_name": "embeddings", "instances": texts}
        good.append((predict, content, {"predictions": alone("embeddings", rows)}))
        if "pairs" in model.signatures:
            pair = {"text": text(), "pair": text()}
            row = {name: value.encode() for name, value in pair.items()}
            content = {"signature_name": "pairs", "instances": [pair]}
            good.append((predict, content, {"predictions": alone("pairs", [row])}))
        ids = [rng.randrange(5, 20) for _ in range(rng.randrange(1, 30))]
        inputs = {"token_ids": ids, "segment_ids": [0] * len(ids), "padding_mask": [1] * len(ids)}
        (logits,) = alone("tokens", [_arrays(inputs)])
        content = {"signature_name": "tokens", "instances": [inputs]}
        good.append((predict, content, {"predictions": [logits["logits"]]}))

    ones = {name: [[1] * 5000] for name in ("token_ids", "segment_ids", "padding_mask")}
    unknown = {name: [[10**9 if name == "token_ids" else 0]] for name in ones}
    bad: list[tuple[str, Any, int]] = [
        (predict, b"{", 400),
        (predict, b"\xff\xfe", 400),
        (predict, b"[" * 50_000, 400),
        (predict, {}, 400),
        (predict, {"instances": []}, 400),
        (predict, {"instances": [1]}, 400),
        (predict, {"instances": [["a"]]}, 400),
        (predict, b'{"instances": ["\\ud800"]}', 400),
        (predict, {"instances": ["a"], "signature_name": "none"}, 400),
        (predict, {"inputs": ones, "signature_name": "tokens"}, 400),
        (predict, {"inputs": unknown, "signature_name": "tokens"}, 400),
        (predict, {"inputs": {**unknown, "token_ids": [[0.5]]}, "signature_name": "tokens"}, 400),
        (predict, {"instances": ["x" * 2 * MAX_TEXT_BYTES]}, 413),
        (predict, {"instances": ["x" * 3_000_000]}, 413),
        (classify, {"examples": [{"title": "a"}]}, 400),
        (classify, {"examples": "a"}, 400),
        ("/v1/models/other:predict", {"instances": ["a"]}, 404),
        (f"/v1/models/{NAME}/versions/99:predict", {"instances": ["a"]}, 404),
        (f"/v1/models/{NAME}:regress", {"examples": [{"text": "a"}]}, 405),
        ("/nowhere", {}, 404),
    ]
    cases = [Case(path, json.dumps(body).encode(), 200, answer) for path, body, answer in good]
    for path, body, status in bad * (len(good) // (2 * len(bad)) + 1):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        cases.append(Case(path, data, status))
    rng.shuffle(cases)
    return cases


def _arrays(inputs: dict[str, list[int]]) -> dict[str, Any]:
    import numpy as np

    return {name: np.array(values, "int32") for name, values in inputs.items()}


# === Clients ===
class Connection:
    """One HTTP/1.1 connection that stays open; general clients take more time than the server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, Any]:
        """Returns the answer's status and JSON; an OSError or EOFError if there is none."""
        try:
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            self._writer.write(head.encode() + body)
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            content = await self._reader.readexactly(int(headers["content-length"]))
        except (OSError, EOFError):
            self.close()
            raise
        if headers.get("connection") == "close":
            self.close()
        return int(lines[0].split()[1]), json.loads(content)

    def close(self) -> None:
        """Closes the connection; the next request opens another."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None


@dataclasses.dataclass
class Load:
    """What the clients have seen so far."""

    statuses: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    wrong: list[tuple[Case, int, Any]] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    nobody_there: int = 0


async def send(port: int, cases: Iterator[Case], clients: int, load: Load) -> None:
    """Sends requests from many clients at once; each waits for its answer, then sends another."""

    async def client() -> None:
        connection = Connection(port)
        for case in cases:
            while True:
                started = time.perf_counter()
                try:
                    status, answer = await connection.post(case.path, case.body)
                    break
                except (OSError, EOFError):
                    load.nobody_there += 1
                    await asyncio.sleep(0.2)
            load.seconds.append(time.perf_counter() - started)
            load.statuses[status] += 1
            if not case.is_right(status, answer):
                load.wrong.append((case, status, answer))
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))


# === Servers ===
def free_port() -> int:
    """Returns an unused port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(port: int, command: list[str]) -> subprocess.Popen:
    """Starts a server and waits until it answers."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).close()
            return process
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    raise RuntimeError(f"The server did not start: {command}.")


def server_command(export: Path, port: int, *options: str) -> list[str]:
    """Returns the arguments with which Python serves an export."""
    module = ["-m", "keras_bert_scratch.cli.main", "serve", str(export), "--name", NAME]
    limits = ["--max-text-bytes", str(MAX_TEXT_BYTES)]
    return [*module, "--port", str(port), *limits, *options]


@contextlib.contextmanager
def server(port: int, command: list[str]) -> Iterator[subprocess.Popen]:
    """Runs a server for the duration of the block."""
    process = start(port, command)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def serve_keras(checkpoint: str, port: int) -> None:
    """Serves a checkpoint by a plain Keras `predict` a request, with the same ASGI stack."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from keras_bert_scratch import BertClassifier

    model = BertClassifier.from_pretrained(checkpoint)
    thread = concurrent.futures.ThreadPoolExecutor(1)

    async def predict(request: Request) -> JSONResponse:
        texts = json.loads(await request.body())["instances"]
        loop = asyncio.get_running_loop()
        # The model's `probabilities` is Keras' predict and a softmax.
        probabilities = await loop.run_in_executor(thread, model.probabilities, texts)
        return JSONResponse({"predictions": probabilities.tolist()})

    async def health(request: Request) -> JSONResponse:
        return JSONResponse({})

    routes = [
        Route(f"/v1/models/{NAME}:predict", predict, methods=["POST"]),
        Route("/healthz", health),
    ]
    uvicorn.run(Starlette(routes=routes), port=port, log_level="warning", access_log=False)


# === The measurements ===
def mixed(export: Path, cases: list[Case], requests: int, clients: int) -> Load:
    """Sends good and bad requests to a server that keeps running."""
    port, load = free_port(), Load()
    with server(port, server_command(export, port)):
        started = time.perf_counter()
        asyncio.run(send(port, _repeated(cases, requests), clients, load))
        seconds = time.perf_counter() - started
    latencies = statistics.quantiles(load.seconds, n=100)
    print(
        f"mixed: {requests} requests by {clients} clients in {seconds:.1f} s, answers by status "
        f"{dict(sorted(load.statuses.items()))}, without an answer {load.nobody_there}, wrong "
        f"{len(load.wrong)}; latency p50 {1000 * latencies[49]:.1f} ms, "
        f"p99 {1000 * latencies[98]:.1f} ms"
    )
    return load


def restarts(export: Path, cases: list[Case], requests: int, clients: int) -> Load:
    """Stops, kills and starts the server again while requests come in."""
    port, load = free_port(), Load()
    command = server_command(export, port)
    ends = []

    async def disturb() -> None:
        process = await asyncio.to_thread(start, port, command)
        sending = asyncio.create_task(send(port, _repeated(cases, requests), clients, load))
        try:
            for number, how in enumerate((signal.SIGTERM, signal.SIGKILL), start=1):
                while len(load.seconds) < number * requests // 3:
                    await asyncio.sleep(0.01)
                process.send_signal(how)
                ends.append(await asyncio.to_thread(process.wait, 60))
                process = await asyncio.to_thread(start, port, command)
            await sending
        finally:
            process.terminate()
            process.wait(60)

    asyncio.run(disturb())
    print(
        f"restarts: {requests} requests over a SIGTERM and a SIGKILL, found nobody and tried again "
        f"{load.nobody_there} times, wrong {len(load.wrong)}"
    )
    assert ends == [-signal.SIGTERM, -signal.SIGKILL], ends
    return load


@dataclasses.dataclass(frozen=True)
class Flood:
    """The behaviour of a server under attack.

    Args:
        load: The good requests during the attack.
        unexpected: Unexpected answers to the attackers.
        idle_bytes: Memory after the first good requests.
        peak_bytes: Peak memory during the attack.
        health_seconds: Seconds to each answer of /healthz.
    """

    load: Load
    unexpected: list[str]
    idle_bytes: int
    peak_bytes: int
    health_seconds: list[float]


def flood(export: Path, cases: list[Case], requests: int, clients: int) -> Flood:
    """Attacks a server while good requests come in."""
    port, unexpected = free_port(), []

    async def strange(count: int, data: bytes, expected: bytes) -> None:
        for _ in range(count):
            answer = await _raw(port, data)
            if not answer.startswith(b"HTTP/1.1 " + expected):
                unexpected.append(f"{data[:60]!r} -> {answer[:200]!r}, not {expected!r}")

    async def quiet(data: bytes, piece: bytes) -> None:
        """Sends the start of a request, then little or nothing, until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(OSError):
            writer.write(data)
            while not reader.at_eof():
                writer.write(piece)
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(100), 0.5)
        writer.close()

    def post(body: bytes, headers: str = "", host: str = "localhost") -> bytes:
        head = f"POST /v1/models/{NAME}:predict HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        return f"{head}{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body

    ids = [1] * 20_000 + ["x" * 50_000]
    inputs = {name: [ids] for name in ("token_ids", "segment_ids", "padding_mask")}
    mixed_ids = json.dumps({"inputs": inputs, "signature_name": "tokens"}).encode()
    mixed_texts = json.dumps({"instances": ids}).encode()
    text = json.dumps({"instances": ["a good film"]}).encode()
    bomb = gzip.compress(bytes(100_000_000))
    get = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
    load = Load()

    async def run() -> None:
        await asyncio.gather(
            send(port, _repeated(cases, requests), clients, load),
            strange(40, post(mixed_ids), b"400"),
            strange(40, post(mixed_texts), b"413"),
            strange(5, get + b"X: " + b"x" * 30_000_000, b"431"),
            strange(5, get + b"X: x\r\n" * 5_000_000, b"431"),
            strange(40, post(bomb, "Content-Encoding: gzip\r\n"), b"413"),
            strange(200, post(text, host="films.example"), b"400"),
            *(quiet(b"", b"") for _ in range(300)),
            *(quiet(post(text)[:-20], b" ") for _ in range(20)),
            *(quiet((get + b"\r\n") * 1000, b"") for _ in range(20)),
        )

    with server(port, server_command(export, port)) as process:
        warm = Load()
        asyncio.run(send(port, _repeated(cases, requests), clients, warm))
        time.sleep(1)
        idle = _memory(process.pid, "VmRSS")
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # Reset the peak.
        with concurrent.futures.ProcessPoolExecutor(1) as pool:
            health = pool.submit(_health_seconds, port, 20.0)
            asyncio.run(run())
            seconds = health.result()
        peak = _memory(process.pid, "VmHWM")
    print(
        f"flood: {requests} good requests, wrong {len(load.wrong)}, without an answer "
        f"{load.nobody_there}; strangers answered otherwise than expected {len(unexpected)}; "
        f"memory {idle / 1e6:.0f} MB at rest, {peak / 1e6:.0f} MB at most (x{peak / idle:.2f}); "
        f"/healthz p50 {1000 * statistics.median(seconds):.1f} ms, p99 "
        f"{1000 * statistics.quantiles(seconds, n=100)[98]:.1f} ms, longest "
        f"{1000 * max(seconds):.1f} ms"
    )
    return Flood(load, unexpected, idle, peak, seconds)


async def _raw(port: int, data: bytes) -> bytes:
    """Sends bytes, and returns what is received until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    with contextlib.suppress(OSError):
        writer.write(data)
        received = await reader.read()
    writer.close()
    return received


def _health_seconds(port: int, seconds: float) -> list[float]:
    """Asks /healthz again and again, each time by a new connection."""
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.perf_counter()
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10).close()
        took.append(time.perf_counter() - started)
        time.sleep(0.02)
    return took


def _memory(process: int, what: str) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(status.split(f"{what}:")[1].split()[0])


def throughput(
    checkpoint: Path, export: Path, requests: int, clients: int, rounds: int
) -> dict[str, float]:
    """Measures requests a second, each of one short text."""
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randrange(3, 13))) for _ in range(256)]
    from keras_bert_scratch import BertClassifier
    from keras_bert_scratch.serving.server.served_file import ServedFile
    from keras_bert_scratch.serving.server.served_model import ServedModel

    file = export.parent / "int8.tflite"
    BertClassifier.from_pretrained(checkpoint).export(file, format="litert", precision="int8")

    def cases_of(served: Any) -> list[Case]:
        answers = [served.run("serving_default", [{"text": text.encode()}]) for text in texts]
        bodies = [json.dumps({"instances": [text]}).encode() for text in texts]
        path = f"/v1/models/{NAME}:predict"
        return [
            Case(path, body, 200, {"predictions": answer})
            for body, answer in zip(bodies, answers, strict=True)
        ]

    of_export = cases_of(ServedModel(export))
    of_file = cases_of(ServedFile(file))
    commands: dict[str, Callable[[int], list[str]]] = {
        "dynamic batches": lambda port: server_command(export, port),
        "int8 file": lambda port: server_command(file, port),
        "batches of one": lambda port: server_command(export, port, "--max-batch-size", "1"),
        "Keras predict": lambda port: [__file__, "--keras-server", str(checkpoint), str(port)],
    }
    rates: dict[str, list[float]] = {name: [] for name in commands}
    slowest: dict[str, list[float]] = {name: [] for name in commands}
    with contextlib.ExitStack() as stack:
        ports = {name: free_port() for name in commands}
        for name, port in ports.items():
            stack.enter_context(server(port, commands[name](port)))
        for turn in range(rounds + 1):
            for name, port in ports.items():
                # The slow one is measured on fewer.
                count = requests if name != "Keras predict" else max(requests // 10, 2 * clients)
                cases = of_file if name == "int8 file" else of_export
                if name == "Keras predict":  # answers in another form
                    cases = [dataclasses.replace(case, expected=None) for case in cases]
                seconds, each = _timed(port, cases, count, clients)
                if turn:  # the first round warms up
                    rates[name].append(count / seconds)
                    slowest[name].append(float(np.percentile(each, 99)))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, values in rates.items():
        spread = f"{min(values):.0f} to {max(values):.0f}"
        ratio = medians["dynamic batches"] / medians[name]
        print(
            f"throughput, {name}: {medians[name]:.0f} requests/s ({spread}), ratio {ratio:.2f}, "
            f"99 of 100 within {1000 * statistics.median(slowest[name]):.0f} ms"
        )
    return medians


def _timed(port: int, cases: list[Case], requests: int, clients: int) -> tuple[float, list[float]]:
    load = Load()
    started = time.perf_counter()
    asyncio.run(send(port, _repeated(cases, requests), clients, load))
    seconds = time.perf_counter() - started
    assert load.statuses == {200: requests}, load.statuses
    assert not load.wrong, load.wrong[0]
    return seconds, load.seconds


def _repeated(cases: list[Case], requests: int) -> Iterator[Case]:
    return (cases[n % len(cases)] for n in range(requests))


def tiny_checkpoint(folder: Path) -> Path:
    """Writes a classifier with random weights: 2 layers of width 128."""
    from keras_bert_scratch import (
        BertClassifier,
        BertConfig,
        BertEncoder,
        Vocabulary,
        WordPieceTokenizer,
    )

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"电影棒,.!", "uber"]
    tokens += [f"unused{n}" for n in range(100)]
    config = BertConfig.preset("tiny", vocab_size=len(tokens), initializer_range=0.2)
    tokenizer = WordPieceTokenizer(Vocabulary(tokens))
    BertClassifier(BertEncoder(config), ["bad", "good"], tokenizer).save_pretrained(folder)
    return folder


def main(arguments: list[str] | None = None) -> int:
    """Runs the measurements; 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="a classifier (default: a tiny one)")
    parser.add_argument(
        "--export",
        type=Path,
        help="its export; alone: no part 4",
    )
    parser.add_argument("--requests", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--clients", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--keras-server", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.keras_server:
        serve_keras(options.keras_server[0], int(options.keras_server[1]))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint, export = options.checkpoint, options.export
        if checkpoint is None and export is None:
            checkpoint = tiny_checkpoint(Path(temporary) / "checkpoint")
        if export is None:
            from keras_bert_scratch import BertClassifier

            export = Path(temporary) / "export"
            BertClassifier.from_pretrained(checkpoint).export(export)
        cases = make_cases(export)
        loads = [
            mixed(export, cases, options.requests, options.clients),
            restarts(export, cases, options.requests // 3, options.clients),
        ]
        flooded = flood(export, cases, options.requests // 3, options.clients)
        loads.append(flooded.load)
        for line in flooded.unexpected[:5]:
            print(f"unexpected: {line}")
        for load in loads:
            for case, status, answer in load.wrong[:5]:
                print(f"wrong: {case.path} {case.body[:200]!r} -> {status} {str(answer)[:300]}")
        if checkpoint is not None:
            throughput(checkpoint, export, options.requests // 4, options.clients, options.rounds)
    is_full = flooded.peak_bytes > 1.2 * flooded.idle_bytes
    return int(
        any(load.wrong for load in loads)
        or loads[0].nobody_there > 0
        or bool(flooded.unexpected)
        or is_full
    )


if __name__ == "__main__":
    sys.exit(main())
