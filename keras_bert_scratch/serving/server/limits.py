"""What the server takes at once, so that no client can fill it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the server takes at once.

    Args:
        max_batch_size: Most rows of one call of the model.
        max_wait_ms: How long a row waits for others to fill its batch.
        max_queue: Most rows that wait; beyond them requests are answered 503.
        max_body_bytes: Of a request, unpacked; beyond them 413.
        max_text_bytes: Of one text; beyond them 413.
        timeout: Seconds from a request's arrival to its answer; beyond them 504.
        max_pending_bytes: Of all bodies that are being received or wait; beyond them 503.
        max_header_bytes: Of a request's first line and headers; beyond them 431.
        max_headers: Of a request; beyond them 431.
        max_connections: Most that are open. Beyond them the one that has kept the server waiting
            longest is closed.
        header_timeout: Seconds from the start of a request to the end of its headers; beyond them
            408.
        body_timeout: Seconds for the body to come; beyond them 408. A client that takes longer to
            read its answer is cut off.
        idle_timeout: Seconds for which a connection stays open without another request.

    Raises:
        ValueError: If one of them is not positive.
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
