"""A small server for exported classifiers, with TensorFlow Serving's REST API.

`rest.py` reads and writes JSON, `batcher.py` makes batches, `served_model.py` runs them; this file
holds the routes and the limits. It needs the extra `server`.
"""

import asyncio
import contextlib
import dataclasses
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

try:
    import prometheus_client as prometheus
    import uvicorn
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Route
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ImportError as error:
    raise ImportError(
        "The server runs on starlette, uvicorn and prometheus_client, which are not all installed "
        f'({error}): pip install "keras_bert_scratch[server]".'
    ) from error

from keras_bert_scratch.serving import rest
from keras_bert_scratch.serving.batcher import Batcher, QueueFullError
from keras_bert_scratch.serving.rest import RequestError
from keras_bert_scratch.serving.served_model import ServedModel, serialized_example

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the server takes at once.

    Args:
        max_batch_size: Most rows of one call of the model.
        max_wait_ms: How long a row waits for others to fill its batch.
        max_queue: Most rows that wait; beyond them requests are answered 503.
        max_body_bytes: Of a request; beyond them 413.
        max_text_bytes: Of one text; beyond them 413.
        timeout: Seconds from a request's arrival to its answer; beyond them 504.

    Raises:
        ValueError: If one of them is not positive.
    """

    max_batch_size: int = 32
    max_wait_ms: float = 2.0
    max_queue: int = 1024
    max_body_bytes: int = 1_000_000
    max_text_bytes: int = 100_000
    timeout: float = 30.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value <= 0:
                raise ValueError(f"{name} must be greater than 0, received {value}.")


class ModelServer:
    """The routes of one model.

    Args:
        model: What is served.
        name: The model's, in the addresses.
        limits: What is taken at once.

    Example:
        >>> app = ModelServer(ServedModel("saved_models/sentiment"), "sentiment").app()
        >>> uvicorn.run(app)
        >>> # curl localhost:8000/v1/models/sentiment:predict -d '{"instances": ["a good film"]}'
    """

    def __init__(
        self, model: ServedModel, name: str = "model", limits: Limits | None = None
    ) -> None:
        self.model = model
        self.name = name
        self.limits = limits or Limits()
        self.metrics_registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self.metrics_registry)
        self._requests = prometheus.Counter(
            "bert_requests", "Answers", ["endpoint", "code"], registry=self.metrics_registry
        )
        self._latency = prometheus.Histogram(
            "bert_request_seconds", "From a request's arrival to its answer", ["endpoint"],
            registry=self.metrics_registry,
        )  # fmt: skip
        self._batch_rows = prometheus.Histogram(
            "bert_batch_rows", "Rows of a call of the model",
            buckets=[2**n for n in range(9)], registry=self.metrics_registry,
        )  # fmt: skip
        self._model_seconds = prometheus.Histogram(
            "bert_model_seconds", "Time of a call of the model", registry=self.metrics_registry
        )
        self._queue_rows = prometheus.Gauge(
            "bert_queue_rows", "Rows that wait", registry=self.metrics_registry
        )

    def app(self) -> Starlette:
        """Returns the ASGI application."""
        routes = [
            Route("/", self.page),
            Route("/healthz", self.health),
            Route("/metrics", self.metrics),
        ]
        for path in ("/v1/models/{model}", "/v1/models/{model}/versions/{version}"):
            routes += [
                Route(f"{path}:predict", self.predict, methods=["POST"]),
                Route(f"{path}:classify", self.classify, methods=["POST"]),
                Route(f"{path}/metadata", self.metadata),
                Route(path, self.status),
            ]
        app = Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={
                RequestError: _refusal,
                HTTPException: _http_error,
                ClientDisconnect: _gone,
                Exception: _failure,
            },
        )
        app.add_middleware(_Measured, requests=self._requests, latency=self._latency)
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with Batcher(
            lambda key, rows: self.model.run(key[0], rows),
            max_batch_size=self.limits.max_batch_size,
            max_wait=self.limits.max_wait_ms / 1000,
            capacity=self.limits.max_queue,
            observe=self._observe_batch,
        ) as self._batcher:
            self._queue_rows.set_function(self._batcher.__len__)
            yield

    def _observe_batch(self, rows: int, seconds: float) -> None:
        self._batch_rows.observe(rows)
        self._model_seconds.observe(seconds)

    # === The model ===
    async def predict(self, request: Request) -> Response:
        """POST /v1/models/NAME[/versions/N]:predict."""
        self._check_model(request)
        async with self._deadline():
            content = rest.parse_body(await self._body(request))
            signature = rest.signature_name(content, "serving_default")
            inputs = self.model.inputs(signature)
            rows = rest.predict_rows(content, inputs, self.limits.max_text_bytes)
            results = await self._run(signature, rows)
        return _TensorJSON(rest.predict_response(content, results))

    async def classify(self, request: Request) -> Response:
        """POST /v1/models/NAME[/versions/N]:classify."""
        self._check_model(request)
        async with self._deadline():
            content = rest.parse_body(await self._body(request))
            signature = rest.signature_name(content, "classify")
            if not self.model.is_for_classify(signature):
                raise RequestError(
                    f'The signature "{signature[:100]}" takes no examples: use :predict, or name '
                    "one that does."
                )
            examples = rest.examples_of(content, self.limits.max_text_bytes)
            rows = [{"inputs": serialized_example(features)} for features in examples]
            results = await self._run(signature, rows)
        return _TensorJSON(rest.classify_response(results))

    async def status(self, request: Request) -> Response:
        """GET /v1/models/NAME[/versions/N]."""
        self._check_model(request)
        status = {
            "version": str(self.model.version),
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
        return JSONResponse({"model_version_status": [status]})

    async def metadata(self, request: Request) -> Response:
        """GET /v1/models/NAME[/versions/N]/metadata."""
        self._check_model(request)
        signatures = await asyncio.to_thread(lambda: self.model.metadata)
        spec = {"name": self.name, "signature_name": "", "version": str(self.model.version)}
        return JSONResponse(
            {
                "model_spec": spec,
                "metadata": {"signature_def": {"signature_def": signatures}},
            }
        )

    # === Around it ===
    async def health(self, request: Request) -> Response:
        """GET /healthz: 200 where requests are answered."""
        is_working = self._batcher.is_working
        return JSONResponse(
            {
                "status": "ok" if is_working else "the batches have stopped: restart the server",
                "model": self.name,
                "version": str(self.model.version),
            },
            status_code=200 if is_working else 503,
        )

    async def metrics(self, request: Request) -> Response:
        """GET /metrics, for Prometheus."""
        return Response(
            prometheus.generate_latest(self.metrics_registry),
            media_type=prometheus.CONTENT_TYPE_LATEST,
        )

    async def page(self, request: Request) -> Response:
        """GET /: try the model in the browser."""
        return HTMLResponse(
            _PAGE,
            headers={
                "Content-Security-Policy": "default-src 'none'; connect-src 'self'; "
                "script-src 'unsafe-inline'; style-src 'unsafe-inline'"
            },
        )

    def _check_model(self, request: Request) -> None:
        name = request.path_params["model"]
        version = request.path_params.get("version", str(self.model.version))
        if name != self.name or version != str(self.model.version):
            asked = f"{name[:100]}, version {version[:20]}"
            raise RequestError(
                f"Servable not found for request: {asked}; this server has {self.name}, version "
                f"{self.model.version}.",
                status=404,
            )

    async def _body(self, request: Request) -> bytes:
        limit = self.limits.max_body_bytes
        parts, size = [], 0
        # The whole body is read, though not kept: many clients read no answer before they have
        # sent it.
        async for part in request.stream():
            size += len(part)
            if size <= limit:
                parts.append(part)
        if size > limit:
            raise RequestError(
                f"The body has {size} bytes, the limit is {limit}: send fewer or shorter texts at "
                "a time.",
                status=413,
            )
        return b"".join(parts)

    async def _run(self, signature: str, rows: list[rest.Row]) -> list[dict[str, Any]]:
        if len(rows) > self.limits.max_queue:
            raise RequestError(
                f"The request has {len(rows)} rows, the queue holds {self.limits.max_queue}: send "
                "fewer at a time.",
                status=413,
            )
        keys = [self.model.batch_key(signature, row) for row in rows]
        try:
            return await self._batcher.run(keys, rows)
        except QueueFullError:
            raise HTTPException(
                503, "The queue is full: try again later.", headers={"Retry-After": "1"}
            ) from None

    @contextlib.asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.limits.timeout):
                yield
        except TimeoutError:
            raise HTTPException(
                504, f"No answer within {self.limits.timeout:g} seconds: try again later."
            ) from None


class _TensorJSON(Response):
    """JSON in which floats may be NaN or infinite, as TensorFlow Serving's may."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Returns the body."""
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


class _Measured:
    """Counts and times the answers of every endpoint."""

    def __init__(
        self, app: ASGIApp, requests: prometheus.Counter, latency: prometheus.Histogram
    ) -> None:
        self._app = app
        self._requests = requests
        self._latency = latency

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, code = time.perf_counter(), 500

        async def send_and_note(message: Message) -> None:
            nonlocal code
            code = message.get("status", code)
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            # The router notes which function answers; for an unknown address there is none.
            endpoint = getattr(scope.get("endpoint"), "__name__", "other")
            self._requests.labels(endpoint, code).inc()
            self._latency.labels(endpoint).observe(time.perf_counter() - started)


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return JSONResponse({"error": str(error)}, status_code=error.status)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = error.detail
    if error.status_code in (404, 405):
        message = f"Malformed request: {request.method} {request.url.path[:200]}"
    return JSONResponse({"error": message}, status_code=error.status_code, headers=error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    # Nobody reads it; the code is the one that nginx notes for a client that has gone.
    return Response(status_code=499)


async def _failure(request: Request, error: Exception) -> Response:
    return JSONResponse(
        {"error": f"The server failed on this request: {type(error).__name__}."}, status_code=500
    )


def serve(
    folder: str | Path,
    name: str = "model",
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    limits: Limits | None = None,
) -> None:
    """Serves a SavedModel until SIGINT or SIGTERM; requests that have arrived are still answered.

    Args:
        folder: A SavedModel, or a folder of versions, whose highest is served.
        name: The model's, in the addresses.
        host: Address to listen at; "0.0.0.0" for all.
        port: To listen at; 0 for any that is free.
        limits: What is taken at once.

    Raises:
        ValueError: If the folder holds no SavedModel, or the name cannot stand in an address.
    """
    if not name or set(name) & set("/:?#% "):
        raise ValueError(f"name must have none of / : ? # % and spaces, received {name!r}.")
    limits = limits or Limits()
    model = ServedModel(folder)
    model.warm_up()
    config = uvicorn.Config(
        ModelServer(model, name, limits).app(),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=int(limits.timeout) + 1,
    )
    socket = config.bind_socket()
    address = "http://{}:{}".format(*socket.getsockname()[:2])
    print(f"{model.folder} (version {model.version}): {address}/v1/models/{name}", flush=True)
    print(f"Try it: {address}/", flush=True)
    uvicorn.Server(config).run(sockets=[socket])


_PAGE = (Path(__file__).parent / "server_page.html").read_text("utf-8")
