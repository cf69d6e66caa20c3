"""`python -m waggle_api`: Waggle's REST API, one process."""

import asyncio
import socket
from typing import Final

import structlog

from waggle import doorbell_sizes, primaries, service
from waggle.admin.trail import Trail
from waggle.bus import connection as bus
from waggle.bus.ring import Ringer
from waggle.scopes import Role
from waggle.service import Service
from waggle.settings.services import ApiSettings, check_auth, check_provider
from waggle.store import postgres
from waggle.store.primary import PrimaryGate
from waggle.telemetry import endpoint
from waggle_api import metrics
from waggle_api.app import GROUPS, PROBES, create_app, routed
from waggle_api.control.feed import Feed
from waggle_api.control.following import Following
from waggle_api.control.waits import Waits
from waggle_api.edge.blocking import Blocking
from waggle_api.edge.identity import Identity, by_request, everybody
from waggle_api.edge.logins import Passwords
from waggle_api.edge.pages import Pages
from waggle_api.edge.provider import Provider, ProviderSettings
from waggle_api.edge.rates import Rates, policies
from waggle_api.edge.tokens import Tokens
from waggle_api.explain.looking import Explainer
from waggle_api.health import Health
from waggle_api.http.connections import Connections
from waggle_api.http.envelope import Envelope
from waggle_api.http.server import Certificate, Server, certificate
from waggle_api.nats import rpc
from waggle_api.nats.ingest import Ingest
from waggle_api.nats.publishers import Publishers
from waggle_api.resources import Resources
from waggle_api.submit.accept import Intake
from waggle_api.submit.catalogue import Catalogue
from waggle_api.submit.commit import COMMIT_RETRY_SECONDS

log = structlog.get_logger()

API_CONNECTIONS: Final = 16


async def run(settings: ApiSettings) -> None:
    """Listen at once, accept requests once Postgres is available; when stopped, finish what was accepted."""
    check_auth(settings)
    check_provider(settings)
    if settings.api_auth == "none":
        log.warning("anybody on this machine may do everything", auth="none")
    tls = certificate(settings.api_tls_cert, settings.api_tls_key)
    listener = endpoint.listen(settings.api_host, settings.api_port)
    probes = None if settings.api_probes_port is None else endpoint.listen(settings.api_probes_host, settings.api_probes_port)
    async with service.running("api", settings) as api:
        gate = PrimaryGate()
        catalogue, ringer, resources = await _opened(api, gate)
        api.start("primary", primaries.share(gate, resources.pool, resources.bus, api.stopping))
        publishers = Publishers(resources.pool, anybody=resources.identity is None)
        servers = _servers(settings, resources, listener, probes, tls)
        for number, server in enumerate(servers):
            api.start(f"http {number}", server.serve())
            api.start(f"certificate {number}", server.keep_certificate())
        api.start("commit", resources.intake.run())
        api.start("waits", resources.waits.keep(api.stopping))
        api.start("rates", resources.rates.run())
        if resources.identity is not None:
            api.start("keys", resources.identity.keep(api.stopping))
            api.start("blocks", resources.blocking.keep(api.stopping))
        await api.until(_accept_requests(catalogue, resources))
        api.start("catalogue", catalogue.keep(api.stopping))
        api.start("publishers", publishers.keep(api.stopping))
        api.start("ingest", Ingest(resources.pool, resources.bus, resources.intake, publishers).run(api.stopping))
        requests = rpc.gateway(resources.bus, Envelope(routed(resources, by_request(resources.identity))))
        await requests.open()
        api.start("doorbell sizes", doorbell_sizes.keep(resources.pool, ringer, api.stopping))
        address = endpoint.address(listener, "https" if tls else "http")
        api.ready(api_url=address, metrics_url=f"{endpoint.address(probes) if probes else address}/metrics")
        await api.stopped()
        resources.waits.end()
        resources.feed.end()
        resources.following.end()
        await requests.close()
        for server in servers:
            await server.stop()
        await _drain(resources.intake)


def _servers(settings: ApiSettings, resources: Resources, listener: socket.socket, probes: socket.socket | None, tls: Certificate | None) -> list[Server]:
    """That of the API; the probes are on it, or on one of their own that stops after it."""
    pages, limits = Pages(settings.api_hosts, settings.api_origins), (settings.api_connections, settings.api_connections_each)
    groups = [group for group in GROUPS if probes is None or group is not PROBES]
    connections = Connections(*limits)
    metrics.CONNECTIONS.set_function(lambda: connections.all)
    identify = everybody if resources.identity is None else resources.identity
    servers = [Server(create_app(resources, identify, pages, groups), listener, connections, settings.grace, tls)]
    if probes is not None:  # it counts its own: a flood of the API must not fail its probes
        servers.append(Server(create_app(resources, identify, pages, [PROBES]), probes, Connections(*limits), settings.grace))
    return servers


async def _opened(api: Service[ApiSettings], gate: PrimaryGate) -> tuple[Catalogue, Ringer, Resources]:
    pool = await api.enter(postgres.pool(api.settings, "api", API_CONNECTIONS, gate=gate))
    health_pool = await api.enter(postgres.pool(api.settings, "api-health", 1, gate=gate))
    nats = await api.enter(bus.connection(api.settings, "api"))
    ringer, catalogue, waits, feed = Ringer(nats), Catalogue(pool), Waits(pool, nats), Feed(nats)
    await ringer.open()
    await waits.open()
    await feed.open()
    api.start("storing", ringer.storing.watch())
    intake = Intake(pool, nats, ringer, catalogue, accept_unknown=api.settings.unknown_types == "accept", callbacks=bool(api.settings.callback_secrets))
    tokens = Tokens(api.settings.api_secret, api.settings.api_issuer, api.settings.api_signing)
    trail = Trail(api.settings.api_secret)
    blocking = Blocking(pool, trail, api.settings.api_block_failures, api.settings.api_block_seconds)
    rates, limits = Rates(nats), policies(api.settings.api_rate_requests, api.settings.api_rate_tasks, api.settings.api_rate_logins)
    identity = None
    if api.settings.api_auth == "required":
        identity = Identity(pool, api.settings.api_secret, tokens, blocking=blocking, rates=rates, requests=limits.requests, proxies=api.settings.api_proxies)
    passwords, health = await api.enter(Passwords()), Health(health_pool, ringer, pool)
    resources = Resources(
        pool=pool,
        bus=nats,
        intake=intake,
        waits=waits,
        feed=feed,
        following=Following(pool, nats, waits),
        health=health,
        identity=identity,
        passwords=passwords,
        trail=trail,
        blocking=blocking,
        rates=rates,
        policies=limits,
        proxies=api.settings.api_proxies,
        provider=_provider(api.settings),
        explainer=Explainer(nats, catalogue, health.nats),
        trace_url=api.settings.trace_url,
    )
    return catalogue, ringer, resources


def _provider(settings: ApiSettings) -> Provider | None:
    if not settings.oidc_issuer:
        return None
    roles = {group: Role(role) for group, _, role in (entry.rpartition("=") for entry in settings.oidc_roles)}
    there = ProviderSettings(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret,
        callback=settings.oidc_callback,
        scopes=settings.oidc_scopes,
        groups_claim=settings.oidc_groups_claim,
        roles=roles,
    )
    return Provider(there, settings.api_secret)


async def _accept_requests(catalogue: Catalogue, resources: Resources) -> None:
    """Wait for Postgres and its schema, and read the catalogue first."""
    while True:
        await postgres.wait_until_migrated(resources.pool)
        try:
            await catalogue.refresh()
        except postgres.POSTGRES_OUTAGE:
            continue
        resources.health.is_open = True
        return


async def _drain(intake: Intake) -> None:
    """Commit and ring submissions whose clients have disconnected, too."""
    try:
        async with asyncio.timeout(2 * COMMIT_RETRY_SECONDS):
            await intake.drained()
    except TimeoutError:
        log.warning("stopped with uncommitted submissions; none was confirmed to its client")


if __name__ == "__main__":
    service.main("api", ApiSettings, run)
