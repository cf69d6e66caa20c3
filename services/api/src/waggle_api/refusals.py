"""Why the API does not do what it was asked. These errors know no HTTP: `problems` maps each to its answer."""


class Refusal(Exception):
    """The request is not done; `detail` is for whoever sent it."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Malformed(Refusal):
    """It cannot be read: not JSON, not UTF-8, a header that makes no sense."""


class WrongMediaType(Refusal):
    """Its body is in another format than JSON."""


class TooLarge(Refusal):
    """Its body is larger than the limit."""


class TooSlow(Refusal):
    """Its body does not come."""


class NotFound(Refusal):
    """There is no such thing."""


class Conflict(Refusal):
    """It contradicts what is there."""


class Unavailable(Refusal):
    """Not now; `retry_after` is in seconds."""

    def __init__(self, detail: str, retry_after: int = 2) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
