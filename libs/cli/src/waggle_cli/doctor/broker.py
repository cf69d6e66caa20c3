"""NATS: reachable, new enough, with JetStream, with the stream and the consumers that the services need, and with room."""

import asyncio
from typing import Any, Final

import nats.errors
from nats.js.api import ConsumerConfig

from waggle.bus import subjects, topology
from waggle.bus.connection import MINIMUM_VERSION
from waggle.bus.jetstream import ask
from waggle.store import catalogue
from waggle.task import Priority
from waggle_cli.doctor.findings import Finding, error, ok, skipped, warning
from waggle_cli.doctor.patient import Patient

MAX_PAYLOAD: Final = 4 << 20
"""A payload of 1 MiB and its envelope do not fit the default."""
NEARLY: Final = 0.8
NO_STREAM: Final = 10059
REPAIR: Final = "start a scheduler, which makes it within seconds, or run `waggle migrate`"
SHOWN: Final = 6
TOPOLOGY_SECONDS: Final = 3.0
"""A scheduler makes what is missing every two seconds."""


async def reachable(patient: Patient) -> list[Finding]:
    if patient.nats:
        return [ok(f"{patient.nats_address} answers in {patient.nats.seconds * 1000:.1f} ms")]
    advice = "start NATS, or correct WAGGLE_NATS_URL; until then tasks are accepted and wait"
    return [error(f"{patient.nats_address} cannot be used: {patient.nats_error}", advice)]


async def version(patient: Patient) -> list[Finding]:
    assert patient.nats
    number = ".".join(map(str, patient.nats.version))
    if patient.nats.version[:2] < MINIMUM_VERSION:
        return [error(f"nats-server {number} is too old: services do not use it", f"upgrade it to {'.'.join(map(str, MINIMUM_VERSION))} or newer")]
    if patient.nats.max_payload < MAX_PAYLOAD:
        what = f"max_payload is {patient.nats.max_payload >> 10:,} KiB: large messages are refused"
        return [error(what, "set max_payload: 4MB in the configuration of nats-server, and restart it")]
    return [ok(f"nats-server {number}, max_payload {patient.nats.max_payload >> 20} MiB")]


async def jetstream(patient: Patient) -> list[Finding]:
    assert patient.bus
    try:
        answer = await ask(patient.bus, subjects.ACCOUNT_INFO)
    except nats.errors.NoRespondersError:
        answer = {"error": {"description": "nobody answers for it"}}
    if "error" in answer:
        advice = "start nats-server with a `jetstream` block (or -js), and enable it for this account"
        return [error(f"JetStream cannot be used: {answer['error'].get('description', answer['error'])}", advice)]
    used, most = int(answer["storage"]), int(answer["limits"]["max_storage"])
    if most < 0:
        return [ok(f"JetStream stores {used / 2**20:,.1f} MiB; this account has no limit of its own")]
    what = f"JetStream stores {used / 2**20:,.1f} of {most / 2**20:,.1f} MiB that this account may have"
    return [warning(what, "raise the account's limit: a full store takes no doorbells")] if used >= most * NEARLY else [ok(what)]


async def stream(patient: Patient) -> list[Finding]:
    """The work stream, as the settings want it, and how full it is."""
    assert patient.bus
    answer = await ask(patient.bus, subjects.STREAM_INFO, {"subjects_filter": subjects.WORK_ALL})
    if "error" in answer:
        return [_missing(subjects.WORK_STREAM, answer["error"])]
    config, state = answer["config"], answer["state"]
    wanted = topology.work_stream(patient.settings).as_dict()
    differing = [name for name in ("retention", "storage", "discard", "max_msgs_per_subject", "max_bytes", "num_replicas") if config[name] != wanted[name]]
    found = [_differs(differing, config, wanted)] if differing else []
    if state["bytes"] >= config["max_bytes"] * NEARLY > 0:
        found.append(warning(f"{subjects.WORK_STREAM} is nearly full: {state['bytes']:,} of {config['max_bytes']:,} bytes", "raise WAGGLE_WORK_MAX_BYTES"))
    for subject, held in sorted((state.get("subjects") or {}).items()):
        if held >= config["max_msgs_per_subject"] * NEARLY > 0:
            what = f"the lane {subject} is nearly full: {held:,} of {config['max_msgs_per_subject']:,} doorbells"
            found.append(warning(what, "run more workers for it, or raise WAGGLE_LANE_LIMIT; tasks are accepted all the same, and are rung when there is room"))
    return found or [ok(f"{subjects.WORK_STREAM} holds {state['messages']:,} doorbells")]


def _missing(name: str, problem: dict[str, Any]) -> Finding:
    if problem.get("err_code") == NO_STREAM:
        return error(f"the stream {name} is missing: no work reaches the workers", REPAIR)
    return error(f"the stream {name} cannot be read: {problem.get('description', problem)}", "look into the log of nats-server")


def _differs(names: list[str], config: dict[str, Any], wanted: dict[str, Any]) -> Finding:
    differences = ", ".join(f"{name} is {config[name]}, the settings here want {wanted[name]}" for name in names)
    return warning(f"{subjects.WORK_STREAM}: {differences}", "run the scheduler with these settings, or the doctor with the scheduler's")


async def consumers(patient: Patient) -> list[Finding]:
    """One for each lane of each queue that is known."""
    assert patient.bus
    assert patient.database
    queues = await catalogue.queues(patient.database)
    expected = {subjects.consumer(queue, priority): topology.lane_consumer(queue, priority) for queue in queues for priority in Priority}
    there = await _consumers(patient)
    if there is not None and not expected.keys() <= there.keys():
        await asyncio.sleep(TOPOLOGY_SECONDS)  # a queue may be so new that the scheduler has not come to it
        there = await _consumers(patient)
    if there is None:
        return []  # without a stream there are none, and that was said
    if missing := [name for name in expected if name not in there]:
        what = f"{len(missing)} of {len(expected)} lanes have no consumer: {', '.join(missing[:SHOWN])}{', …' if len(missing) > SHOWN else ''}"
        return [error(what, REPAIR)]
    if wrong := [name for name, config in expected.items() if _differ(there[name], config)]:
        what = f"consumers are not as Waggle makes them: {', '.join(wrong[:SHOWN])}{', …' if len(wrong) > SHOWN else ''}"
        return [warning(what, "delete them with `nats consumer rm WAGGLE_WORK NAME`: the scheduler makes them anew, and rings what waits")]
    return [ok(f"every lane has its consumer ({len(expected)} of {len(queues)} queues)" if len(queues) != 1 else "the queue has its 4 consumers")]


async def _consumers(patient: Patient) -> dict[str, ConsumerConfig] | None:
    assert patient.bus
    js = patient.bus.jetstream()
    found: dict[str, ConsumerConfig] = {}
    try:
        while page := await js.consumers_info(subjects.WORK_STREAM, offset=len(found)):
            found |= {info.name: info.config for info in page}
    except nats.js.errors.NotFoundError:
        return None
    return found


def _differ(config: ConsumerConfig, wanted: ConsumerConfig) -> bool:
    return any(getattr(config, name) != getattr(wanted, name) for name in ("filter_subject", "ack_policy", "ack_wait", "max_ack_pending", "max_deliver"))


async def breakers(patient: Patient) -> list[Finding]:
    assert patient.bus
    answer = await ask(patient.bus, subjects.BREAKERS_INFO)
    if "error" not in answer:
        return [ok(f"the bucket of the breakers is there, with {answer['state']['messages']:,} of them")]
    if answer["error"].get("err_code") == NO_STREAM:
        return [warning("the bucket of the breakers is missing: each worker has breakers of its own", REPAIR)]
    return [skipped(f"the bucket of the breakers cannot be read: {answer['error'].get('description')}", "look into the log of nats-server")]
