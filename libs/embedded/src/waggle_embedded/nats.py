"""An embedded NATS server with JetStream, kept in one folder: `start(folder)` returns when it answers; `.url`, `.pid`, `.store`, `.stop()`.

It listens on 127.0.0.1 only, with a user and a generated password for each service (waggle.bus.users). It ends when its parent dies (Linux). Its store
leaves some of the disk free.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from waggle.bus import users
from waggle.bus.users import NatsPublisher
from waggle_embedded.binaries import find_nats
from waggle_embedded.child import Busy, ServerError, ServerProcess, rotate, spawn, until
from waggle_embedded.placement import choose_port, make_folder

PASSWORDS_FILE: Final = "passwords.json"
STORE_BYTES: Final = 64 << 30  # at most
START_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 2.0  # between two looks at its health
DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
ROOM_BYTES: Final = 16 << 20  # free again, so that a restart helps


class NotStoring(Busy):
    """JetStream takes messages but does not store them; another start helps."""


@dataclass(kw_only=True)
class Nats(ServerProcess):
    """A started NATS server; JetStream keeps its data in the folder `store`."""

    title: ClassVar[str] = "NATS"

    store: Path
    port: int
    passwords: Mapping[str, str] = field(repr=False)
    notes: Path = field(repr=False)
    looked: float = field(default=0.0, repr=False)

    @property
    def url(self) -> str:
        """That of the operator, who may do everything."""
        return self.url_of(users.OPERATOR)

    def publisher_url(self, name: str, password: str) -> str:
        """That of a publisher."""
        return f"nats://{users.PUBLISHER}{name}:{password}@127.0.0.1:{self.port}"

    def url_of(self, user: str) -> str:
        """That of a service."""
        return f"nats://{user}:{self.passwords[user]}@127.0.0.1:{self.port}"

    @property
    def monitor_url(self) -> str:
        """Its HTTP endpoint (`/healthz`, `/jsz`, …), once it is ready."""
        return self._addresses()["monitoring"][0]

    def let_in(self, publishers: Iterable[NatsPublisher]) -> None:
        """Take these publishers from now on, if they are not the ones that it has."""
        file, text = self.store.parent / users.PUBLISHERS_FILE, users.publishers(publishers)
        if file.read_text() != text:
            file.write_text(text)
            self.process.send_signal(signal.SIGHUP)  # it reads its configuration again

    def check_alive(self) -> None:
        """Also that it stores: after a full disk it takes publishes and loses them until it is started again. Raises NotStoring when there is room again."""
        super().check_alive()
        now = time.monotonic()
        if now - self.looked < LOOK_SECONDS or not self.answers():
            return
        self.looked = now
        if (problem := self._write_error()) and shutil.disk_usage(self.store).free > ROOM_BYTES:
            raise NotStoring(f"NATS stores nothing ({problem})")

    def _write_error(self) -> str:
        """What /healthz says of a stream that cannot be written; "" for anything else."""
        try:
            DIRECT.open(f"{self.monitor_url}/healthz", timeout=1).close()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            return said if "write error" in said else ""
        except OSError:
            return ""
        return ""

    def answers(self) -> bool:
        return "nats" in self._addresses()

    def _addresses(self) -> dict[str, list[str]]:
        """The addresses that the server wrote once it listened; {} before."""
        with contextlib.suppress(OSError, ValueError):
            addresses: dict[str, list[str]] = json.loads((self.notes / f"nats-server_{self.pid}.ports").read_bytes())
            return addresses
        return {}


def start(folder: Path, *, port: int = 0, log: Path | None = None, extra: str = "") -> Nats:
    """Start NATS on the store in `folder` and wait until it answers. Port 0 is the port of the last start, if it is free.

    `extra` is appended to the configuration file. Raises ServerError.
    """
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        server = launch(folder, port=port, log=log, extra=extra)
        try:
            until(server.ready, START_SECONDS, "the start of NATS")
            return server
        except ServerError as error:
            server.kill()
            taken_meanwhile = port == 0 and "address already in use" in str(error)
            if not taken_meanwhile or time.monotonic() > deadline:
                raise
        except BaseException:
            server.kill()
            raise


def launch(folder: Path, *, port: int = 0, log: Path | None = None, extra: str = "") -> Nats:
    """As `start`, but without waiting until it answers: poll `ready()`."""
    folder = folder.absolute()
    program = find_nats()
    store, notes, configuration = make_folder(folder / "store"), make_folder(folder / "run"), folder / "nats.conf"
    for stale in notes.glob("*.ports"):
        stale.unlink()
    shutil.rmtree(store / "jetstream" / "$G", ignore_errors=True)  # doorbells of a Waggle that had no users: the orphan rule rings their tasks
    passwords = _passwords(folder / PASSWORDS_FILE)
    publishers = folder / users.PUBLISHERS_FILE
    for file in (configuration, publishers):
        file.touch(0o600)
    configuration.chmod(0o600)
    configuration.write_text(_configuration(store, passwords) + extra)
    port = port or choose_port(folder)
    log = log or folder / "nats.log"
    log_start = rotate(log)
    argv: list[str | Path] = [program, "-c", configuration, "-a", "127.0.0.1", "-p", str(port), "-m", "-1", "--ports_file_dir", notes]
    return Nats(store=store, port=port, passwords=passwords, notes=notes, process=spawn(argv, log=log), log=log, log_start=log_start)


def _passwords(file: Path) -> dict[str, str]:
    """Those of the first start: clients keep them over restarts."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        found: dict[str, str] = json.loads(file.read_bytes())
        if found.keys() >= users.USERS.keys():
            return found
    made = {user: secrets.token_urlsafe(24) for user in users.USERS}
    new = file.with_suffix(".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:  # noqa: PTH123  # pathlib cannot give the mode
        json.dump(made, opened, indent=2)
    new.rename(file)
    return made


def _configuration(store: Path, passwords: Mapping[str, str]) -> str:
    """The limit is four fifths of the available disk: on a full disk publishes time out without an error."""
    used = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    limit = min((shutil.disk_usage(store).free + used) * 4 // 5, STORE_BYTES)
    quoted = {user: f'"{password}"' for user, password in passwords.items()}
    return f"""\
server_name: waggle
max_payload: {users.MAX_PAYLOAD}
jetstream {{
  store_dir: "{store}"
  max_file_store: {limit}
}}
{users.account(quoted, limit)}"""
