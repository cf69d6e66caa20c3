"""The NATS users of Waggle and what each may do: one for each service, and one for the operator. `waggle nats config` writes them for a server.

A user may only publish and hear what its service needs. What it hears as answers comes to inboxes of its own, so that no service reads another's.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from waggle.bus import subjects

ACCOUNT: Final = "WAGGLE"
OPERATOR: Final = "operator"
PUBLISHERS: Final = "PUBLISHERS"
PUBLISHER: Final = "publisher-"  # before the name of a publisher: the name of its user
PUBLISHERS_FILE: Final = "publishers.conf"
MAX_PAYLOAD: Final = 4 << 20  # a payload of 1 MiB with its envelope does not fit into the default
MAX_STREAMS: Final = 12

_PROBING: Final = (subjects.PROBE, subjects.DELETE_MESSAGE, subjects.PURGE)  # whether the stream stores
_SHARING_BREAKERS: Final = (subjects.BREAKERS_INFO, subjects.BREAKERS_GET, subjects.BREAKERS_ALL)
_TELLING: Final = (subjects.SETTLED, subjects.DUE, subjects.PRIMARY, subjects.EVENTS_ALL)


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
            subjects.NEXT_SUBMITTED,
            subjects.ACK_SUBMITTED,
            subjects.REJECTED_ALL,
            subjects.GET_REJECTED,
            subjects.DELETE_REJECTED,
            subjects.GET_EVENTS,
            subjects.stream_request("INFO", subjects.EVENTS_STREAM),
            subjects.GET_STREAMS,
        ),
        subscribe=(subjects.SETTLED, subjects.EVENTS_ALL, subjects.STREAMS_ALL, subjects.PRIMARY, subjects.RPC_ALL, subjects.MICRO_ALL),
        answers=True,
    ),
    "worker": NatsUser(
        publish=(*_TELLING, *_SHARING_BREAKERS, subjects.NEXT_MESSAGE_ANY, subjects.ACK_ANY, subjects.STREAMS_ALL),
        subscribe=(subjects.CONTROL_ANY, subjects.LOGS_ANY, subjects.BREAKERS_ALL, subjects.PRIMARY),
        answers=True,
    ),
    "dlq": NatsUser(publish=_TELLING, subscribe=(subjects.DLQ_ALL, subjects.MICRO_ALL, subjects.PRIMARY), answers=True),
    "scheduler": NatsUser(
        publish=(
            *(*_TELLING, *_PROBING, subjects.WORK_ALL, subjects.CONTROL_ANY, subjects.GET_MESSAGE, subjects.BREAKERS_GET),
            *[subjects.stream_request(verb, stream) for verb in ("INFO", "CREATE", "UPDATE") for stream in subjects.STREAMS],
            *(subjects.CONSUMER_NAMES, subjects.CONSUMER_INFO_ANY, subjects.CONSUMER_CREATE_ANY),
            *(subjects.INGEST_INFO, subjects.CREATE_INGEST),
        ),
        subscribe=(subjects.DUE, subjects.PRIMARY),
    ),
    OPERATOR: NatsUser(publish=(">",), subscribe=(">",)),  # migrate, doctor, audit
}


def inboxes(user: str) -> str:
    """The prefix of the inboxes of a service's connections."""
    return f"_INBOX.waggle-{user}"


class NatsPublisher(NamedTuple):
    """Somebody outside of Waggle who hands over tasks. `password` is a bcrypt hash; `events`: may hear the events of all tasks."""

    name: str
    password: str
    events: bool = False


def account(passwords: Mapping[str, str], max_file: int | str, publishers: str = PUBLISHERS_FILE) -> str:
    """The accounts in the language of nats-server's configuration. A password is a quoted text, or a variable of the server's environment (`$NAME`).

    Publishers stand in the file that is named, beside this one: see `publishers`.
    """
    users = "\n".join(_user(name, user, passwords[name]) for name, user in USERS.items())
    return f"""\
accounts {{
  {ACCOUNT} {{
    jetstream {{ max_file: {max_file}, max_streams: {MAX_STREAMS} }}
    users: [
{users}
    ]
    exports: [
      {{ service: "{subjects.SUBMIT_ALL}" }}
      {{ service: "{subjects.RPC_ALL}" }}
      {{ service: "{subjects.MICRO_ALL}", response_type: stream }}
      {{ stream: "{subjects.EVENTS_ALL}" }}
    ]
  }}
  {PUBLISHERS} {{
    imports: [
      {{ service: {{ account: {ACCOUNT}, subject: "{subjects.SUBMIT_ALL}" }} }}
      {{ service: {{ account: {ACCOUNT}, subject: "{subjects.RPC_ALL}" }} }}
      {{ service: {{ account: {ACCOUNT}, subject: "{subjects.MICRO_ALL}" }} }}
      {{ stream: {{ account: {ACCOUNT}, subject: "{subjects.EVENTS_ALL}" }} }}
    ]
    include "{publishers}"
  }}
}}
"""


def publishers(them: Iterable[NatsPublisher]) -> str:
    """The file of the publishers. They share an account, which reaches nothing of Waggle's but their subjects, the requests (which need an API key) and the
    events. Each publishes under its own name only, and hears its own inboxes and, if it may, the events.

    An account of its own for each would need no inboxes of a name, but nats-server does not connect the imports of an account that a reload brings
    (findings/nats-server-a-new-account-imports-from-the-second-reload-on.sh).
    """
    users = "\n".join(_publisher(each) for each in them)
    return f"# Made by `waggle publishers nats`: after a change, `nats-server --signal reload`.\nusers: [\n{users}\n]\n"


def _publisher(of: NatsPublisher) -> str:
    name = PUBLISHER + of.name
    publish = _listed([subjects.submit(of.name), subjects.RPC_ALL, subjects.MICRO_ALL])
    subscribe = _listed([f"_INBOX.{name}.>", *([subjects.EVENTS_ALL] if of.events else [])])
    return f"""\
  {{
    user: {name}, password: "{of.password}"
    permissions {{
      publish: {{ allow: [{publish}] }}
      subscribe: {{ allow: [{subscribe}] }}
    }}
  }}"""


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
