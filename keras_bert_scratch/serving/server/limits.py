"""Limits on what clients may send, so that none of them can exhaust the server."""

import dataclasses
from typing import Any


def _limit(default: float, meaning: str) -> Any:
    return dataclasses.field(default=default, metadata={"meaning": meaning})


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits on what clients may send; what exceeds one is answered with the status code named.

    The fields say what they limit, in rows, bytes and seconds.

    Raises:
        ValueError: If a limit is not positive.
    """

    max_batch_size: int = _limit(32, "rows of one call of the model")
    max_wait_ms: float = _limit(2.0, "milliseconds that a row waits for others to fill its batch")
    max_queue: int = _limit(1024, "rows that may wait; beyond: 503")
    max_body_bytes: int = _limit(1_000_000, "bytes of a request's body, unpacked; beyond: 413")
    max_text_bytes: int = _limit(100_000, "bytes of one text; beyond: 413")
    timeout: float = _limit(30.0, "seconds from a request's arrival to its answer; beyond: 504")
    max_pending_bytes: int = _limit(
        32_000_000, "bytes of all bodies that are being received or wait; beyond: 503"
    )
    max_header_bytes: int = _limit(
        16_384, "bytes of a request's first line and headers; beyond: 431"
    )
    max_headers: int = _limit(100, "headers of a request; beyond: 431")
    max_connections: int = _limit(
        500, "open connections; beyond, the one that waits longest is closed"
    )
    header_timeout: float = _limit(10.0, "seconds for the headers to come; beyond: 408")
    body_timeout: float = _limit(
        20.0, "seconds for the body to come (beyond: 408), or for a client to read its answer"
    )
    idle_timeout: float = _limit(
        5.0, "seconds for which a connection stays open without another request"
    )

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be greater than 0, received {value}.")
        if self.max_pending_bytes < self.max_body_bytes:
            raise ValueError(
                "max_pending_bytes counts all bodies, so it must be max_body_bytes "
                f"({self.max_body_bytes}) or more, received {self.max_pending_bytes}."
            )
