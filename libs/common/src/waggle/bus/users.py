"""The NATS users of Waggle and what each may do: one for each service, and one for the operator. `waggle nats config` writes them for a server.

A user may only publish and hear what its service needs. What it hears as answers comes to inboxes of its own, so that no service reads another's.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from waggle.bus import subjects

ACCOUNT: Final = "WAGGLE"
OPERATOR: Final = "operator"
MAX_PAYLOAD: Final = 4 << 20  # a payload of 1 MiB with its envelope does not fit into the default
MAX_STREAMS: Final = 8

_STREAMS: Final = (subjects.WORK_STREAM, subjects.BREAKERS_STREAM, subjects.RATES_STREAM)
_PROBING: Final = (subjects.PROBE, subjects.DELETE_MESSAGE, subjects.PURGE)  # whether the stream stores
_SHARING_BREAKERS: Final = (subjects.BREAKERS_INFO, subjects.BREAKERS_GET, subjects.BREAKERS_ALL)
_TELLING: Final = (subjects.SETTLED, subjects.DUE, subjects.PRIMARY)


class NatsUser(NamedTuple):
    """What a user may publish and subscribe besides its inboxes. `answers`: also one answer to each request that it gets."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: bool = False


USERS: Final[Mapping[str, NatsUser]] = {
    "api": NatsUser(
        publish=(
            *_TELLING,
            *_PROBING,
            *_SHARING_BREAKERS,
            subjects.WORK_ALL,
            subjects.CONTROL_ANY,
            subjects.LOGS_ANY,
            subjects.DLQ_ALL,
            subjects.RATES_ALL,
            subjects.GET_MESSAGE,
        ),
        subscribe=(subjects.SETTLED, subjects.PRIMARY),
    ),
    "worker": NatsUser(
        publish=(*_TELLING, *_SHARING_BREAKERS, subjects.NEXT_MESSAGE_ANY, subjects.ACK_ANY),
        subscribe=(subjects.CONTROL_ANY, subjects.LOGS_ANY, subjects.BREAKERS_ALL, subjects.PRIMARY),
        answers=True,
    ),
    "dlq": NatsUser(publish=_TELLING, subscribe=(subjects.DLQ_ALL, subjects.MICRO_ALL, subjects.PRIMARY), answers=True),
    "scheduler": NatsUser(
        publish=(
            *(*_TELLING, *_PROBING, subjects.WORK_ALL, subjects.CONTROL_ANY, subjects.GET_MESSAGE, subjects.BREAKERS_GET),
            *[subjects.stream_request(verb, stream) for verb in ("INFO", "CREATE", "UPDATE") for stream in _STREAMS],
            *(subjects.CONSUMER_NAMES, subjects.CONSUMER_INFO_ANY, subjects.CONSUMER_CREATE_ANY),
        ),
        subscribe=(subjects.DUE, subjects.PRIMARY),
    ),
    OPERATOR: NatsUser(publish=(">",), subscribe=(">",)),  # migrate, doctor, audit
}


def inboxes(user: str) -> str:
    """The prefix of the inboxes of a service's connections."""
    return f"_INBOX.waggle-{user}"


def account(passwords: Mapping[str, str], max_file: int | str) -> str:
    """The account in the language of nats-server's configuration. A password is a quoted text, or a variable of the server's environment (`$NAME`)."""
    users = "\n".join(_user(name, user, passwords[name]) for name, user in USERS.items())
    return f"""\
accounts {{
  {ACCOUNT} {{
    jetstream {{ max_file: {max_file}, max_streams: {MAX_STREAMS} }}
    users: [
{users}
    ]
  }}
}}
"""


def _user(name: str, user: NatsUser, password: str) -> str:
    if name == OPERATOR:
        return f"      {{ user: {name}, password: {password} }}"
    publish, subscribe = (_listed(allowed) for allowed in (sorted(user.publish), [f"{inboxes(name)}.>", *sorted(user.subscribe)]))
    answers = '\n          allow_responses: { max: 1, expires: "2m" }' if user.answers else ""
    return f"""\
      {{
        user: {name}, password: {password}
        permissions {{
          publish: {{ allow: [{publish}] }}
          subscribe: {{ allow: [{subscribe}] }}{answers}
        }}
      }}"""


def _listed(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
