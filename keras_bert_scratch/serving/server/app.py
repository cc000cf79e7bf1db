"""A small server for exported classifiers, with TensorFlow Serving's REST API.

`rest.py` reads and writes JSON, `batcher.py` makes batches, `served_model.py` runs them and
`versions.py` finds them; `limits.py`, `connections.py` and `hosts.py` keep strangers out. This file
holds the routes. It needs the extra `server`.
"""

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

try:
    import prometheus_client as prometheus
    import uvicorn
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware.cors import CORSMiddleware
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Route
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ImportError as error:
    raise ImportError(
        "The server runs on starlette, uvicorn and prometheus_client, which are not all installed "
        f'({error}): pip install "keras_bert_scratch[server]".'
    ) from error

from keras_bert_scratch.serving.server import rest
from keras_bert_scratch.serving.server.batcher import Batcher, QueueFullError
from keras_bert_scratch.serving.server.connections import LimitedProtocol
from keras_bert_scratch.serving.server.hosts import KnownHosts, hosts_of
from keras_bert_scratch.serving.server.limits import Limits
from keras_bert_scratch.serving.server.rest import RequestError
from keras_bert_scratch.serving.server.served_model import ServedModel, serialized_example
from keras_bert_scratch.serving.server.versions import ModelVersions, VersionStatus

logger = logging.getLogger(__name__)

# How often a folder of versions is looked at, as by TensorFlow Serving.
_POLL_SECONDS = 1.0
# Bytes of a body, and rows of an answer, up to which JSON is read and written at once.
_SMALL_BODY, _FEW_ROWS = 10_000, 16


class ModelServer:
    """The routes of one model.

    Args:
        model: What is served.
        name: The model's, in the addresses.
        limits: What is taken at once.
        versions: Where other versions of the model will appear; without it the model stays.
        allowed_hosts: Names and addresses by which it is asked, those of IPv6 in brackets; "*" for
            any.
        cors_origins: Origins whose pages may use it, such as "https://example.org"; "*" for any.
        root_path: A prefix of all addresses, such as "/films", of a proxy that does not remove it.

    Raises:
        ValueError: If an origin or the prefix cannot be one.

    Example:
        >>> app = ModelServer(ServedModel("saved_models/sentiment"), "sentiment").app()
        >>> uvicorn.run(app)
        >>> # curl localhost:8000/v1/models/sentiment:predict -d '{"instances": ["a good film"]}'
    """

    def __init__(
        self,
        model: ServedModel,
        name: str = "model",
        limits: Limits | None = None,
        *,
        versions: ModelVersions | None = None,
        allowed_hosts: Sequence[str] = ("*",),
        cors_origins: Sequence[str] = (),
        root_path: str = "",
    ) -> None:
        for origin in cors_origins:
            if not re.fullmatch(r"\*|[a-z][a-z0-9+.-]*://[^\s/?#]+", origin):
                raise ValueError(
                    "An origin is a scheme, a host and maybe a port, without a path, such as "
                    f"https://example.org:8080, or *; received {origin!r}."
                )
        if not re.fullmatch(r"(/[^/?#%\s]+)*", root_path):
            raise ValueError(
                f'root_path must be like "/films", without a slash at its end, received '
                f"{root_path!r}."
            )
        self.model = model
        self.name = name
        self.limits = limits or Limits()
        self._versions = versions
        self._allowed_hosts = allowed_hosts
        self._cors_origins = cors_origins
        self._root_path = root_path
        self._pending_bytes = 0
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
        # The last is the outermost.
        if self._cors_origins:
            app.add_middleware(
                CORSMiddleware,
                allow_origins=self._cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
            )
        app.add_middleware(KnownHosts, hosts=self._allowed_hosts)
        if self._root_path:
            app.add_middleware(_Prefixed, prefix=self._root_path)
        app.add_middleware(_Measured, requests=self._requests, latency=self._latency)
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        # One thread: what is large has to wait, and what is small does not wait for it.
        self._json_thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="json")
        async with Batcher(
            lambda key, rows: key[0].run(key[1], rows),
            max_batch_size=self.limits.max_batch_size,
            max_wait=self.limits.max_wait_ms / 1000,
            capacity=self.limits.max_queue,
            observe=self._observe_batch,
        ) as self._batcher:
            self._queue_rows.set_function(self._batcher.__len__)
            watch = asyncio.create_task(self._watch())
            yield
            watch.cancel()
        self._json_thread.shutdown(wait=False)

    async def _watch(self) -> None:
        """Serves the versions that appear; rows that wait still run on that they came for."""
        while self._versions is not None:
            await asyncio.sleep(_POLL_SECONDS)
            try:
                model = await asyncio.to_thread(self._versions.next, self.model)
            except Exception:
                logger.exception("Looking for new versions failed, and is tried again.")
                continue
            if model is not None:
                logger.info("Version %d is served, after %d.", model.version, self.model.version)
                self.model = model

    def _observe_batch(self, rows: int, seconds: float) -> None:
        self._batch_rows.observe(rows)
        self._model_seconds.observe(seconds)

    # === The model ===
    async def predict(self, request: Request) -> Response:
        """POST /v1/models/NAME[/versions/N]:predict."""
        model = self._asked_model(request)

        def read(body: bytes) -> tuple[str, list[rest.Row], bool]:
            content = rest.parse_body(body)
            signature = rest.signature_name(content, "serving_default")
            inputs, limits = model.inputs(signature), self.limits
            rows = rest.predict_rows(content, inputs, limits.max_text_bytes, limits.max_queue)
            return signature, rows, "inputs" in content

        async with self._deadline(), self._body(request) as body:
            signature, rows, in_columns = await self._read(request, body, read)
            results = await self._run(model, signature, rows)
        return await self._answer(len(rows), rest.predict_response(results, in_columns))

    async def classify(self, request: Request) -> Response:
        """POST /v1/models/NAME[/versions/N]:classify."""
        model = self._asked_model(request)

        def read(body: bytes) -> tuple[str, list[rest.Row]]:
            content = rest.parse_body(body)
            signature = rest.signature_name(content, "classify")
            if not model.is_for_classify(signature):
                raise RequestError(
                    f'The signature "{signature[:100]}" takes no examples: use :predict, or name '
                    "one that does."
                )
            limits = self.limits
            examples = rest.examples_of(
                content, limits.max_text_bytes, limits.max_queue, limits.max_body_bytes
            )
            return signature, [{"inputs": serialized_example(example)} for example in examples]

        async with self._deadline(), self._body(request) as body:
            signature, rows = await self._read(request, body, read)
            results = await self._run(model, signature, rows)
        return await self._answer(len(rows), rest.classify_response(results))

    async def status(self, request: Request) -> Response:
        """GET /v1/models/NAME[/versions/N]."""
        statuses = dict(self._versions.statuses) if self._versions is not None else {}
        statuses[self.model.version] = VersionStatus("AVAILABLE")
        asked = request.path_params.get("version")
        shown = [n for n in sorted(statuses, reverse=True) if asked in (None, str(n))]
        if request.path_params["model"] != self.name or not shown:
            raise self._not_found(request)
        return JSONResponse({"model_version_status": [statuses[n].to_json(n) for n in shown]})

    async def metadata(self, request: Request) -> Response:
        """GET /v1/models/NAME[/versions/N]/metadata."""
        model = self._asked_model(request)
        spec = {"name": self.name, "signature_name": "", "version": str(model.version)}
        return JSONResponse(
            {
                "model_spec": spec,
                "metadata": {"signature_def": {"signature_def": model.metadata}},
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

    def _asked_model(self, request: Request) -> ServedModel:
        model = self.model
        version = request.path_params.get("version", str(model.version))
        if request.path_params["model"] != self.name or version != str(model.version):
            raise self._not_found(request)
        return model

    def _not_found(self, request: Request) -> RequestError:
        name = request.path_params["model"]
        version = request.path_params.get("version", str(self.model.version))
        asked = f"{name[:100]}, version {version[:20]}"
        return RequestError(
            f"Servable not found for request: {asked}; this server has {self.name}, version "
            f"{self.model.version}.",
            status=404,
        )

    @contextlib.asynccontextmanager
    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        """Reads the body, which counts among those that are pending until it is answered."""
        limit, parts, size = self.limits.max_body_bytes, [], 0
        is_room = True
        held = 0
        try:
            # The whole body is read, though not kept: many clients read no answer before they have
            # sent it.
            async for part in request.stream():
                size += len(part)
                is_room &= self._pending_bytes + len(part) <= self.limits.max_pending_bytes
                if size <= limit and is_room:
                    parts.append(part)
                    held += len(part)
                    self._pending_bytes += len(part)
                else:
                    parts.clear()
                    self._pending_bytes -= held
                    held = 0
            if size > limit:
                raise RequestError(
                    f"The body has {size} bytes, the limit is {limit}: send fewer or shorter texts "
                    "at a time.",
                    status=413,
                )
            if not is_room:
                raise _busy("Too many bodies are pending: try again later.")
            body = b"".join(parts)
            parts.clear()
            yield body
        finally:
            self._pending_bytes -= held

    async def _read(self, request: Request, body: bytes, read: Callable[[bytes], Any]) -> Any:
        """Unpacks and reads a body; in the thread for JSON, if that takes long."""
        encodings = ",".join(request.headers.getlist("content-encoding")).lower()
        if encodings not in ("", "identity", "gzip", "x-gzip"):
            raise HTTPException(
                415,
                f"The Content-Encoding must be gzip or none, received {encodings[:100]}.",
                headers={"Accept-Encoding": "gzip"},
            )
        is_packed = "gzip" in encodings

        def call() -> Any:
            return read(rest.unpacked(body, self.limits.max_body_bytes) if is_packed else body)

        if len(body) <= _SMALL_BODY and not is_packed:
            return call()
        return await asyncio.get_running_loop().run_in_executor(self._json_thread, call)

    async def _answer(self, row_count: int, content: dict[str, Any]) -> Response:
        """Writes an answer; in the thread for JSON, if that takes long."""
        loop, pieces = asyncio.get_running_loop(), rest.json_pieces(content)
        if row_count <= _FEW_ROWS:
            text = "".join(pieces)
        else:
            text = await loop.run_in_executor(self._json_thread, "".join, pieces)
        return Response(text, media_type="application/json")

    async def _run(
        self, model: ServedModel, signature: str, rows: list[rest.Row]
    ) -> list[dict[str, Any]]:
        keys = [(model, signature, model.batch_key(signature, row)) for row in rows]
        try:
            return await self._batcher.run(keys, rows)
        except QueueFullError:
            raise _busy("The queue is full: try again later.") from None

    @contextlib.asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.limits.timeout):
                yield
        except TimeoutError:
            raise HTTPException(
                504, f"No answer within {self.limits.timeout:g} seconds: try again later."
            ) from None


class _Prefixed:
    """Takes addresses with a prefix as those without it."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and f"{scope['path']}/".startswith(f"{self._prefix}/"):
            scope = {**scope, "path": scope["path"].removeprefix(self._prefix) or "/"}
        await self._app(scope, receive, send)


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


def _busy(message: str) -> HTTPException:
    return HTTPException(503, message, headers={"Retry-After": "1"})


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


class _Announced(uvicorn.Server):
    """Says something once it listens."""

    def __init__(self, config: uvicorn.Config, *lines: str) -> None:
        super().__init__(config)
        self._lines = lines

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen."""
        await super().startup(sockets)
        if self.started:
            print(*self._lines, sep="\n", flush=True)


def serve(
    folder: str | Path,
    name: str = "model",
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    limits: Limits | None = None,
    allowed_hosts: Sequence[str] = (),
    cors_origins: Sequence[str] = (),
    root_path: str = "",
) -> None:
    """Serves a SavedModel until SIGINT or SIGTERM; requests that have arrived are still answered.

    A version that appears in the folder is loaded beside the one that is served, warmed up, and
    takes its place; if the highest is removed, the next lower one does.

    Args:
        folder: A SavedModel, or a folder of versions, whose highest is served.
        name: The model's, in the addresses.
        host: Address to listen at; "0.0.0.0" for all.
        port: To listen at; 0 for any that is free.
        limits: What is taken at once.
        allowed_hosts: Names by which it is asked, beside localhost, `host`, and, where it listens
            at all addresses, addresses and the machine's name; "*" for any. Requests for another
            host are refused: they may come from a stranger's page, by DNS rebinding.
        cors_origins: Origins whose pages may use it, such as "https://example.org"; "*" for any.
        root_path: A prefix of all addresses, such as "/films", of a proxy that does not remove it.

    Raises:
        ValueError: If the folder holds no SavedModel, or the name cannot stand in an address.
        OSError: If it cannot listen there.
    """
    if not name or set(name) & set("/:?#% "):
        raise ValueError(f"name must have none of / : ? # % and spaces, received {name!r}.")
    limits = limits or Limits()
    hosts = [*hosts_of(host), *allowed_hosts]
    versions = ModelVersions(folder)
    with _bound(host, port) as listener:
        model = versions.first()
        app = ModelServer(
            model,
            name,
            limits,
            versions=versions,
            allowed_hosts=hosts,
            cors_origins=cors_origins,
            root_path=root_path,
        ).app()
        config = uvicorn.Config(
            app,
            http=functools.partial(LimitedProtocol, limits=limits),  # type: ignore[arg-type]
            ws="none",
            # What strangers send is no warning.
            log_level="error",
            access_log=False,
            timeout_graceful_shutdown=int(limits.timeout) + 1,
        )
        shown, port = listener.getsockname()[:2]
        address = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}{root_path}"
        server = _Announced(
            config,
            f"{model.folder} (version {model.version}): {address}/v1/models/{name}",
            f"Asked as {'any host' if '*' in hosts else ', '.join(hosts)} (--allowed-host)",
            f"Try it: {address}/",
        )
        server.run(sockets=[listener])


def _bound(host: str, port: int) -> socket.socket:
    """Takes an address, before the model is loaded for nothing; nobody can connect yet."""
    try:
        family, *_, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        raise OSError(
            f"Cannot listen at {host}, port {port} ({error}): choose another host or port."
        ) from error
    return listener


_PAGE = (Path(__file__).parent / "page.html").read_text("utf-8")
