"""Limits on what clients may send, so that none of them can exhaust the server."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits on what clients may send; what exceeds one is answered with the status code named.

    Args:
        max_batch_size: Largest number of rows in one call of the model.
        max_wait_ms: Milliseconds that a row waits for others to fill its batch.
        max_queue: Largest number of rows that wait; 503.
        max_body_bytes: Largest size of a request's body, unpacked; 413.
        max_text_bytes: Largest size of one text; 413.
        timeout: Seconds from a request's arrival to its answer; 504.
        max_pending_bytes: Largest size of all bodies that are being received or wait; 503.
        max_header_bytes: Largest size of a request's first line and headers; 431.
        max_headers: Largest number of headers of a request; 431.
        max_connections: Largest number of open connections. For a further one, the connection that
            has kept the server waiting longest is closed.
        header_timeout: Seconds from the start of a request to the end of its headers; 408.
        body_timeout: Seconds to receive the body; 408. A client that takes longer to read its
            answer is disconnected.
        idle_timeout: Seconds for which a connection stays open without another request.

    Raises:
        ValueError: If a limit is not positive.
    """

    max_batch_size: int = 32
    max_wait_ms: float = 2.0
    max_queue: int = 1024
    max_body_bytes: int = 1_000_000
    max_text_bytes: int = 100_000
    timeout: float = 30.0
    max_pending_bytes: int = 32_000_000
    max_header_bytes: int = 16_384
    max_headers: int = 100
    max_connections: int = 500
    header_timeout: float = 10.0
    body_timeout: float = 20.0
    idle_timeout: float = 5.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be greater than 0, received {value}.")
        if self.max_pending_bytes < self.max_body_bytes:
            raise ValueError(
                "max_pending_bytes counts all bodies, so it must be max_body_bytes "
                f"({self.max_body_bytes}) or more, received {self.max_pending_bytes}."
            )
