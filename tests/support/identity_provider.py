"""A real identity provider (npm oidc-provider), and a user's browser that signs in there."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urljoin

import httpx2

from support.processes import kill
from waggle_embedded.placement import free_port

PACKAGE: Final = "oidc-provider@9.13.3"
CLIENT_SECRET: Final = "a+secret%of the client"
SCRIPT: Final = Path(__file__).parent / "provider" / "provider.mjs"
READY_SECONDS: Final = 60


class IdentityProvider(NamedTuple):
    """A running provider that knows one client, `waggle`."""

    issuer: str
    process: "subprocess.Popen[str]"


def installed(folder: Path) -> Path:
    """A folder with the package; it is fetched once for all tests."""
    place = folder / "identity-provider"
    if not place.exists():
        place.mkdir()
        npm = shutil.which("npm")
        assert npm, "npm is missing: install the Debian package npm"
        subprocess.run([npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", place, PACKAGE], check=True, timeout=300)
        shutil.copy(SCRIPT, place)
    return place


@contextmanager
def identity_provider(place: Path, callback: str, log: Path) -> Iterator[IdentityProvider]:
    port = free_port()
    with log.open("w") as errors:
        process = subprocess.Popen(["node", place / SCRIPT.name, str(port), callback], stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", log.read_text()
        yield IdentityProvider(f"http://127.0.0.1:{port}", process)
    finally:
        kill(process)
        if process.stdout is not None:
            process.stdout.close()


async def signed_in_there(url: str, user: str) -> str:
    """What a browser does at the provider: it is sent there, logs in, consents, and is sent back to this address."""
    async with httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=20) as browser:
        answer = await browser.get(url)
        for _ in range(12):
            if answer.is_redirect:
                url = urljoin(str(answer.url), answer.headers["location"])
                if "/api/auth/oidc/callback" in url:
                    return url
                answer = await browser.get(url)
                continue
            action = re.search(r'action="([^"]+)"', answer.text)
            prompt = re.search(r'name="prompt" value="(\w+)"', answer.text)
            assert action, answer.text
            assert prompt, answer.text
            form = {"prompt": prompt[1], **({"login": user, "password": "any"} if prompt[1] == "login" else {})}
            answer = await browser.post(urljoin(str(answer.url), action[1]), data=form)
        raise AssertionError("the provider never sent the browser back")
