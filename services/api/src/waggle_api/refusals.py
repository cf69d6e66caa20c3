"""Why the API refuses a request. These errors know no HTTP: `http.problems` maps each to its answer."""

from waggle.field_errors import FieldError


class Refusal(Exception):
    """The request is refused; `detail` tells the caller why."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Malformed(Refusal):
    """It cannot be read: a body of the wrong shape, a malformed header, a connection that ended early."""


class WrongMediaType(Refusal):
    """Its body is not JSON."""


class TooLarge(Refusal):
    """Its body is larger than the limit."""


class TooSlow(Refusal):
    """Its body does not arrive in time."""


class Unauthenticated(Refusal):
    """Nobody knows who sends it. The caller is not told why: `why` is for the log. `counts`: it was a guess, or may have been."""

    def __init__(self, why: str, *, counts: bool = True) -> None:
        super().__init__("send a valid API key or access token: `Authorization: Bearer …` or `X-API-Key: wgl_…`")
        self.why, self.counts = why, counts


class Forbidden(Refusal):
    """Its caller may not do this."""


class Blocked(Refusal):
    """Its address failed too often; `retry_after` is in seconds."""

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class OverQuota(Refusal):
    """Its client did more than a policy allows. `retry_after` is in seconds; `headers` say what the policy is."""

    def __init__(self, detail: str, policy: str, retry_after: int, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(detail)
        self.policy, self.retry_after, self.headers = policy, retry_after, headers


class ForeignPage(Refusal):
    """A web page of another origin sent it."""


class WrongHost(Refusal):
    """It names another host."""


class NotFound(Refusal):
    """What it names does not exist."""


class Conflict(Refusal):
    """It contradicts the current state."""


class UsedKey(Refusal):
    """Its Idempotency-Key stands for another request."""

    @property
    def errors(self) -> list[FieldError]:
        return [FieldError("Idempotency-Key", self.detail)]


class Unavailable(Refusal):
    """It cannot be served now; `retry_after` is in seconds."""

    def __init__(self, detail: str, retry_after: int = 2) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
