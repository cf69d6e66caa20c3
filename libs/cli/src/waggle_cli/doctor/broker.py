"""NATS: reachable, new enough, with JetStream, with the stream and the consumers that the services need, and with room."""

import asyncio
import contextlib
from typing import Any, Final

import nats.errors
from nats.js.api import ConsumerConfig

from waggle.bus import storing, subjects, topology
from waggle.bus.connection import MINIMUM_VERSION, NATS_OUTAGE
from waggle.bus.jetstream import api_request
from waggle.bus.users import MAX_PAYLOAD
from waggle.store import catalogue
from waggle.task import Priority
from waggle_cli.doctor.deployment import Deployment
from waggle_cli.doctor.findings import Finding, error, listed, ok, skipped, warning

NEARLY_FULL: Final = 0.8
NO_STREAM: Final = 10059
REPAIR: Final = "start a scheduler, which creates it within seconds, or run `waggle migrate`"
TOPOLOGY_SECONDS: Final = 3.0  # a scheduler creates what is missing every two seconds


async def reachable(deployment: Deployment) -> list[Finding]:
    if deployment.nats:
        return [ok(f"{deployment.nats_address} answers in {deployment.nats.seconds * 1000:.1f} ms")]
    advice = "start NATS, or correct WAGGLE_NATS_URL; until then tasks are accepted but wait"
    return [error(f"{deployment.nats_address} cannot be used: {deployment.nats_error}", advice)]


async def version(deployment: Deployment) -> list[Finding]:
    assert deployment.nats
    number = ".".join(map(str, deployment.nats.version))
    if deployment.nats.version[:2] < MINIMUM_VERSION:
        return [error(f"nats-server {number} is too old: services refuse to use it", f"upgrade it to {'.'.join(map(str, MINIMUM_VERSION))} or newer")]
    if deployment.nats.max_payload < MAX_PAYLOAD:
        what = f"max_payload is {deployment.nats.max_payload >> 10:,} KiB: large messages are refused"
        return [error(what, "set max_payload: 4MB in the configuration of nats-server, and restart it")]
    return [ok(f"nats-server {number}, max_payload {deployment.nats.max_payload >> 20} MiB")]


async def jetstream(deployment: Deployment) -> list[Finding]:
    assert deployment.bus
    try:
        answer = await api_request(deployment.bus, subjects.ACCOUNT_INFO)
    except nats.errors.NoRespondersError:
        answer = {"error": {"description": "no response"}}
    if "error" in answer:
        advice = "start nats-server with a `jetstream` block (or -js), and enable JetStream for this account"
        return [error(f"JetStream cannot be used: {answer['error'].get('description', answer['error'])}", advice)]
    used, limit = int(answer["storage"]), int(answer["limits"]["max_storage"])
    if limit < 0:
        return [ok(f"JetStream stores {used / 2**20:,.1f} MiB; this account has no limit")]
    what = f"JetStream stores {used / 2**20:,.1f} of {limit / 2**20:,.1f} MiB allowed for this account"
    return [warning(what, "raise the account's limit: a full store accepts no doorbells")] if used >= limit * NEARLY_FULL else [ok(what)]


async def stream(deployment: Deployment) -> list[Finding]:
    """The work stream: whether it is configured as the settings say, and how full it is."""
    assert deployment.bus
    answer = await api_request(deployment.bus, subjects.STREAM_INFO, {"subjects_filter": subjects.WORK_ALL})
    if "error" in answer:
        return [_missing(subjects.WORK_STREAM, answer["error"])]
    config, state = answer["config"], answer["state"]
    wanted = topology.work_stream(deployment.settings).as_dict()
    differing = [name for name in ("retention", "storage", "discard", "max_msgs_per_subject", "max_bytes", "num_replicas") if config[name] != wanted[name]]
    found = [_differs(differing, config, wanted)] if differing else []
    if state["bytes"] >= config["max_bytes"] * NEARLY_FULL > 0:
        found.append(warning(f"{subjects.WORK_STREAM} is nearly full: {state['bytes']:,} of {config['max_bytes']:,} bytes", "raise WAGGLE_WORK_MAX_BYTES"))
    for subject, held in sorted((state.get("subjects") or {}).items()):
        if held >= config["max_msgs_per_subject"] * NEARLY_FULL > 0:
            what = f"the lane {subject} is nearly full: {held:,} of {config['max_msgs_per_subject']:,} doorbells"
            found.append(warning(what, "run more workers for it, or raise WAGGLE_LANE_LIMIT; tasks are still accepted, and rung once there is room"))
    return found or [ok(f"{subjects.WORK_STREAM} holds {state['messages']:,} doorbells")]


async def stores(deployment: Deployment) -> list[Finding]:
    """Whether a message is really stored: the stream's own information looks healthy after a full disk, and without a quorum."""
    assert deployment.bus
    reason = await storing.probe(deployment.bus)
    if reason is None:
        return [ok("a message was stored, acknowledged and removed")]
    with contextlib.suppress(*NATS_OUTAGE):
        if (await api_request(deployment.bus, subjects.STREAM_INFO)).get("error", {}).get("err_code") == NO_STREAM:
            return []  # which `stream` has reported
    advice = (
        "make room on the disk of NATS and then restart it: a server whose disk was full stores nothing until its restart; "
        "in a cluster, most of its nodes must run. Tasks are accepted meanwhile, and rung afterwards"
    )
    return [error(f"NATS is connected but stores nothing: {reason}", advice)]


def _missing(name: str, problem: dict[str, Any]) -> Finding:
    if problem.get("err_code") == NO_STREAM:
        return error(f"the stream {name} is missing: no task reaches a worker", REPAIR)
    return error(f"the stream {name} cannot be read: {problem.get('description', problem)}", "read the log of nats-server")


def _differs(names: list[str], config: dict[str, Any], wanted: dict[str, Any]) -> Finding:
    differences = ", ".join(f"{name} is {config[name]}, the settings here say {wanted[name]}" for name in names)
    return warning(f"{subjects.WORK_STREAM}: {differences}", "run the scheduler with these settings, or the doctor with the scheduler's")


async def consumers(deployment: Deployment) -> list[Finding]:
    """One consumer for each lane of each known queue."""
    assert deployment.bus
    assert deployment.database
    queues = await catalogue.queues(deployment.database)
    expected = {subjects.consumer(queue, priority): topology.lane_consumer(queue, priority) for queue in queues for priority in Priority}
    existing = await _consumers(deployment)
    if existing is not None and not expected.keys() <= existing.keys():
        await asyncio.sleep(TOPOLOGY_SECONDS)  # the queue may be so new that the scheduler has not seen it
        existing = await _consumers(deployment)
    if existing is None:
        return []  # no stream, which `stream` has reported
    if missing := [name for name in expected if name not in existing]:
        what = f"{len(missing)} of {len(expected)} lanes have no consumer: {listed(missing)}"
        return [error(what, REPAIR)]
    if wrong := [name for name, config in expected.items() if _differ(existing[name], config)]:
        what = f"consumers are not configured as Waggle does it: {listed(wrong)}"
        return [warning(what, "delete them with `nats consumer rm WAGGLE_WORK NAME`: the scheduler creates them again and rings waiting tasks")]
    return [ok(f"every lane has its consumer ({len(expected)} lanes of {len(queues)} queues)" if len(queues) != 1 else "the queue has its 4 consumers")]


async def _consumers(deployment: Deployment) -> dict[str, ConsumerConfig] | None:
    assert deployment.bus
    js = deployment.bus.jetstream()
    found: dict[str, ConsumerConfig] = {}
    try:
        while page := await js.consumers_info(subjects.WORK_STREAM, offset=len(found)):
            found |= {info.name: info.config for info in page}
    except nats.js.errors.NotFoundError:
        return None
    return found


def _differ(config: ConsumerConfig, wanted: ConsumerConfig) -> bool:
    return any(getattr(config, name) != getattr(wanted, name) for name in ("filter_subject", "ack_policy", "ack_wait", "max_ack_pending", "max_deliver"))


async def breakers(deployment: Deployment) -> list[Finding]:
    assert deployment.bus
    answer = await api_request(deployment.bus, subjects.BREAKERS_INFO)
    if "error" not in answer:
        deployment.bucket = True
        return [ok(f"the bucket of shared breakers holds {answer['state']['messages']:,}")]
    if answer["error"].get("err_code") == NO_STREAM:
        return [warning("the bucket of shared breakers is missing: each worker uses local breakers", REPAIR)]
    return [skipped(f"the bucket of shared breakers cannot be read: {answer['error'].get('description')}", "read the log of nats-server")]
