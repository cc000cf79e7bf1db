"""A small server for exported classifiers, with TensorFlow Serving's REST API.

`rest.py` reads and writes JSON, `batcher.py` makes batches, `served_model.py` or `served_file.py`
runs them, and `versions.py` finds the version to serve. `limits.py`, `connections.py` and
`hosts.py` protect the server from clients. This file holds the routes. It needs the extra `server`.
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
from typing import TYPE_CHECKING, Any

from keras_bert_scratch.extras import installation

try:
    import prometheus_client as prometheus
    import uvicorn
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware.cors import CORSMiddleware
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Mount, Route
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ImportError as error:
    raise ImportError(
        "The server needs starlette, uvicorn and prometheus_client, which are not all installed "
        f"({error}): {installation('server')}."
    ) from error

from keras_bert_scratch.serving.packed import COLUMNS, READ_ERRORS, unpack
from keras_bert_scratch.serving.server import rest
from keras_bert_scratch.serving.server.batcher import Batcher, QueueFullError
from keras_bert_scratch.serving.server.connections import LimitedProtocol
from keras_bert_scratch.serving.server.hosts import KnownHosts, hosts_of
from keras_bert_scratch.serving.server.limits import Limits
from keras_bert_scratch.serving.server.rest import RequestError
from keras_bert_scratch.serving.server.served import Served, VersionStatus
from keras_bert_scratch.serving.server.served_file import ServedFile

if TYPE_CHECKING:
    # Which imports TensorFlow.
    from keras_bert_scratch.serving.server.versions import ModelVersions

logger = logging.getLogger(__name__)

# Seconds between two looks at the folder of versions, as in TensorFlow Serving.
_POLL_SECONDS = 1.0
# Bodies up to this many bytes, and answers up to this many rows, need no other thread.
_SMALL_BODY, _FEW_ROWS = 10_000, 16
_PAGE = (Path(__file__).parent / "page.html").read_text("utf-8")
_PAGE_POLICY = (
    "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline';"
    # Pictures and sounds that a user has chosen are shown before they are sent.
    " img-src blob:; media-src blob:"
)


class ModelServer:
    """The routes of one model.

    Args:
        model: The model to serve.
        name: Name of the model in the addresses.
        limits: Limits on what clients may send.
        versions: Source of other versions of the model. If None, the model is never replaced.
        allowed_hosts: Host names and addresses that requests may be for, IPv6 addresses in
            brackets; "*" for any.
        cors_origins: Origins whose pages may use the server, such as "https://example.org"; "*"
            for any.
        root_path: Prefix of all addresses, such as "/films", if a proxy does not remove it.

    Raises:
        ValueError: If an origin or the prefix is malformed.

    Example:
        >>> app = ModelServer(ServedModel("saved_models/sentiment"), "sentiment").app()
        >>> uvicorn.run(app)
        >>> # curl localhost:8000/v1/models/sentiment:predict -d '{"instances": ["a good film"]}'
    """

    def __init__(
        self,
        model: Served,
        name: str = "model",
        limits: Limits | None = None,
        *,
        versions: "ModelVersions | None" = None,
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
        self.metrics_registry = registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        self._requests = prometheus.Counter(
            "bert_requests", "Answers", ["endpoint", "code"], registry=registry
        )
        self._latency = prometheus.Histogram(
            "bert_request_seconds", "From a request's arrival to its answer", ["endpoint"],
            registry=registry,
        )  # fmt: skip
        self._batch_rows = prometheus.Histogram(
            "bert_batch_rows", "Rows of a call of the model",
            buckets=[2**n for n in range(9)], registry=registry,
        )  # fmt: skip
        self._model_seconds = prometheus.Histogram(
            "bert_model_seconds", "Time of a call of the model", registry=registry
        )
        self._queue_rows = prometheus.Gauge("bert_queue_rows", "Rows that wait", registry=registry)

    def app(self) -> Starlette:
        """Returns the ASGI application."""
        routes: list[Route | Mount] = [
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
        if self._root_path:
            routes += [Route(self._root_path, self.page), Mount(self._root_path, routes=routes)]
        app = Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={
                RequestError: _refusal,
                HTTPException: _malformed,
                ClientDisconnect: _gone,
                Exception: _failure,
            },
        )
        # The last one added is the outermost.
        if self._cors_origins:
            app.add_middleware(
                CORSMiddleware,
                allow_origins=self._cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
            )
        app.add_middleware(KnownHosts, hosts=self._allowed_hosts)
        app.add_middleware(_Measured, requests=self._requests, latency=self._latency)
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        # A single thread, so that large bodies wait for each other while small ones do not wait.
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
        """Serves new versions as they appear; waiting rows still run on their own version."""
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

        def read(model: Served, content: dict[str, Any]) -> tuple[str, list[rest.Row]]:
            signature = rest.signature_name(content, "serving_default")
            return signature, rest.predict_rows(content, model.inputs(signature), self.limits)

        return await self._ask(request, read, rest.predict_response)

    async def classify(self, request: Request) -> Response:
        """POST /v1/models/NAME[/versions/N]:classify."""

        def read(model: Served, content: dict[str, Any]) -> tuple[str, list[rest.Row]]:
            signature = rest.signature_name(content, "classify")
            if not model.is_for_classify(signature):
                raise RequestError(
                    f'The signature "{signature[:100]}" takes no examples: use :predict, or name '
                    "one that does."
                )
            examples = rest.examples_of(content, self.limits)
            return signature, [model.example(example) for example in examples]

        return await self._ask(request, read, lambda results, _: rest.classify_response(results))

    async def _ask(
        self,
        request: Request,
        read: Callable[[Served, dict[str, Any]], tuple[str, list[rest.Row]]],
        respond: Callable[[list[dict[str, Any]], bool], dict[str, Any]],
    ) -> Response:
        """Reads a request, runs its rows, and writes the answer."""
        model = self._asked_model(request)

        def parse(body: bytes) -> tuple[str, list[rest.Row], bool]:
            if is_packed:
                body = rest.unpacked(body, self.limits.max_body_bytes)
            content = rest.parse_body(body)
            return *read(model, content), "inputs" in content

        async with self._deadline(), self._body(request) as body:
            is_packed = _is_packed(request)
            is_small = len(body) <= _SMALL_BODY and not is_packed
            signature, rows, in_columns = await self._call(is_small, parse, body)
            keys = [(model, signature, model.batch_key(signature, row)) for row in rows]
            try:
                results = await self._batcher.run(keys, rows)
            except QueueFullError:
                raise _busy("The queue is full: try again later.") from None
        pieces = rest.json_pieces(respond(results, in_columns))
        text = await self._call(len(rows) <= _FEW_ROWS, "".join, pieces)
        return Response(text, media_type="application/json")

    async def _call(self, is_short: bool, function: Callable[..., Any], argument: Any) -> Any:
        """Calls a function, in the thread for JSON if that takes long."""
        if is_short:
            return function(argument)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._json_thread, function, argument)

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
        definitions: dict[str, Any] = {"signature_def": {"signature_def": model.metadata}}
        if model.columns:
            definitions["columns"] = model.columns
        return JSONResponse({"model_spec": spec, "metadata": definitions})

    def _asked_model(self, request: Request) -> Served:
        model = self.model
        version = request.path_params.get("version", str(model.version))
        if request.path_params["model"] != self.name or version != str(model.version):
            raise self._not_found(request)
        return model

    def _not_found(self, request: Request) -> RequestError:
        name = request.path_params["model"]
        version = request.path_params.get("version", str(self.model.version))
        return RequestError(
            f"Servable not found for request: {name[:100]}, version {version[:20]}; this server "
            f"has {self.name}, version {self.model.version}.",
            status=404,
        )

    # === Health, metrics and the page ===
    async def health(self, request: Request) -> Response:
        """GET /healthz: 200 if the server can answer requests, otherwise 503."""
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
        """GET /: a page on which to try the model."""
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _PAGE_POLICY})

    # === Limits ===
    @contextlib.asynccontextmanager
    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        """Reads the body, whose bytes count as pending until the request is answered."""
        limit, parts, size, held = self.limits.max_body_bytes, [], 0, 0
        has_room = True
        try:
            # A refused body is read to its end, though not kept: many clients read no answer
            # before they have sent everything.
            async for part in request.stream():
                size += len(part)
                has_room &= self._pending_bytes + len(part) <= self.limits.max_pending_bytes
                if size <= limit and has_room:
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
            if not has_room:
                raise _busy("Too many bodies are pending: try again later.")
            body = b"".join(parts)
            parts.clear()
            yield body
        finally:
            self._pending_bytes -= held

    @contextlib.asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        seconds = self.limits.timeout
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            message = f"No answer within {seconds:g} seconds: try again later."
            raise RequestError(message, status=504) from None


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
            # The router sets the function that answers; an unknown address has none.
            endpoint = getattr(scope.get("endpoint"), "__name__", "other")
            self._requests.labels(endpoint, code).inc()
            self._latency.labels(endpoint).observe(time.perf_counter() - started)


def _is_packed(request: Request) -> bool:
    encodings = ",".join(request.headers.getlist("content-encoding")).lower()
    if encodings not in ("", "identity", "gzip", "x-gzip"):
        message = f"The Content-Encoding must be gzip or none, received {encodings[:100]}."
        raise RequestError(message, status=415, headers={"Accept-Encoding": "gzip"})
    return "gzip" in encodings


def _busy(message: str) -> RequestError:
    return RequestError(message, status=503, headers={"Retry-After": "1"})


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return JSONResponse({"error": str(error)}, status_code=error.status, headers=error.headers)


async def _malformed(request: Request, error: Exception) -> Response:
    """Answers for an unknown address or method, which the router refuses."""
    assert isinstance(error, HTTPException)
    message = f"Malformed request: {request.method} {request.url.path[:200]}"
    return JSONResponse({"error": message}, status_code=error.status_code, headers=error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    # Nobody reads it; nginx logs the same code for a client that has gone.
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
    allowed_hosts: Sequence[str] = (),
    cors_origins: Sequence[str] = (),
    root_path: str = "",
) -> None:
    """Serves an export until SIGINT or SIGTERM; requests that have arrived are still answered.

    A version that appears in the folder is loaded beside the one being served, warmed up, and
    replaces it. If the highest version is removed, the next lower one replaces it.

    Args:
        folder: A SavedModel; a folder of versions, whose highest is served; or a `.tflite` or
            `.onnx` file, for which TensorFlow is not imported.
        name: Name of the model in the addresses.
        host: Address to listen at; "0.0.0.0" for all.
        port: Port to listen at; 0 for any free one.
        limits: Limits on what clients may send.
        allowed_hosts: Further host names that requests may be for; "*" for any. Always allowed are
            localhost, `host`, and, if the server listens at all addresses, every address and the
            machine's name. Requests for another host are refused, because they may come from a
            stranger's page by DNS rebinding.
        cors_origins: Origins whose pages may use the server, such as "https://example.org"; "*"
            for any.
        root_path: Prefix of all addresses, such as "/films", if a proxy does not remove it.

    Raises:
        ValueError: If the folder holds no SavedModel, or an address cannot contain the name.
        OSError: If the server cannot listen at the address.
    """
    if not name or set(name) & set("/:?#% "):
        raise ValueError(f"name must have none of / : ? # % and spaces, received {name!r}.")
    limits = limits or Limits()
    hosts = [*hosts_of(host), *allowed_hosts]
    with _bound(host, port) as listener:
        model, versions = _load(folder)
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
            # Bad requests deserve no warning.
            log_level="error",
            access_log=False,
            timeout_graceful_shutdown=int(limits.timeout) + 1,
        )
        # From here on connections wait in the queue of the socket until the server takes them.
        listener.listen(config.backlog)
        shown, port = listener.getsockname()[:2]
        address = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}{root_path}"
        known = "any host" if "*" in hosts else ", ".join(hosts)
        print(f"{model.folder} (version {model.version}): {address}/v1/models/{name}")
        print(f"Asked as {known} (--allowed-host)")
        print(f"Try it: {address}/", flush=True)
        uvicorn.Server(config).run(sockets=[listener])


def _load(path: str | Path) -> "tuple[Served, ModelVersions | None]":
    """Loads a file, or the highest version of a folder, and warms it up."""
    if Path(path).is_file():
        # What is wrong with a file its reader tells.
        packed: dict[str, str] = {}
        with contextlib.suppress(*READ_ERRORS):
            packed = unpack(path)
        if COLUMNS in packed:
            from keras_bert_scratch.serving.server.served_columns import ServedColumnFile

            return ServedColumnFile(path), None
        served = ServedFile(path)
        served.warm_up()
        return served, None
    from keras_bert_scratch.serving.server.versions import ModelVersions

    versions = ModelVersions(path)
    return versions.first(), versions


def _bound(host: str, port: int) -> socket.socket:
    """Reserves the address before the model is loaded; nobody can connect yet."""
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
