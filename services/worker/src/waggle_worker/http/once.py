"""A request is sent once. aiohttp sends GET, PUT, DELETE and the like again by itself when the server closes the connection without an answer.

See findings/aiohttp-sends-a-request-twice.sh.
"""

from typing import Final

import aiohttp

KEPT_SECONDS: Final = 1.0
"""For how long a connection may wait for its next request: less than servers wait, so that none is closed just when a request is sent."""


class Unanswered(aiohttp.ClientError):
    """The connection broke after the request was sent, and the server may have done it. aiohttp does not repeat after an exception of this class."""


async def once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """A middleware of aiohttp. Raises Unanswered."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:  # nothing was sent
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise Unanswered(f"{type(error).__name__}: {error}") from error
