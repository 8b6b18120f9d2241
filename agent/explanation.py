"""What a trial came to, in words.

Decides: which sentences are said, and in which order: the packet's own way. Rules: pure; numbers and states are the
trial's, names are the last report's, and a name that it does not know is left out, never guessed. Must never: say why
the programs decided as they did beyond what abi.h, the tables and the packet show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.compile.image import BACKEND_REJECT, GATEWAY_NODE_ADDRESS, POOL_SLOTS
from agent.dataplane.hooks import Role
from agent.dataplane.met import MetFlow
from agent.dataplane.trial import Asked, Outcome
from agent.not_ours import why_not_ours
from agent.packet import TCP, UDP, Packet, read
from agent.report import BackendReport, EndpointReport, ListenerReport
from agent.verdicts import MEANING
from agent.words import label, words
from loader.hook import Direction

_ANSWERS = (
    "REJECTED_RST",
    "REJECTED_ICMP",
    "REFUSED_TABLE_FULL",
    "REFUSED_COLLISION",
    "REFUSED_MIDSTREAM",
    "REFUSED_DENIED",
    "REFUSED_LIMITED",
    "TOO_BIG",
    "NEIGHBOUR",
    "PING",
)
_CARRIED = ("VERDICT_FORWARDED", "VERDICT_REPLIED", "VERDICT_RESET_LIMITED", "VERDICT_RELATED")


@dataclass(frozen=True, slots=True)
class Step:
    """One line: `topic` is a word or two, `text` a sentence or a phrase."""

    topic: str
    text: str


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow's own numbers. `idle` is seconds; packets and bytes are both directions together."""

    table: str
    state: str
    client: str
    gateway: str
    seen_as: str
    backend: str
    idle: int
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """All of it. Names that are not known, and what the packet did not come to, are "" or None.

    `became`: the packet as the program left it. `backend` is the backendRef's name, `endpoint` its address and port.
    """

    packet: str
    interface: str
    hook: str
    verdict: str
    meaning: str
    gateway: str
    listener: str
    route: str
    slot: int | None
    backend: str
    endpoint: str
    seen_as: str
    became: str
    met: Flow | None
    steps: tuple[Step, ...]


def explain(packet: Packet, outcome: Outcome, listeners: Sequence[ListenerReport]) -> Explanation:
    """The sentences, and what they are about."""
    listener = _listener(outcome, listeners)
    ref, _ = _endpoint(outcome, listener)
    flow = outcome.flow
    became = str(read(outcome.after)) if outcome.verdict in _CARRIED or _is_answer(outcome) else ""
    return Explanation(
        packet=str(packet),
        interface=outcome.place.link.name,
        hook=label(outcome.place.hook),
        verdict=label(outcome.verdict),
        meaning=MEANING[outcome.verdict],
        gateway=listener.gateway if listener else "",
        listener=listener.name if listener else "",
        route=listener.route or "" if listener else "",
        slot=outcome.slot,
        backend=ref.name if ref else "",
        endpoint=_at(outcome) if outcome.backend else "",
        seen_as=str(flow.record.seen_as) if flow else "",
        became=became,
        met=_flow(outcome.met) if outcome.met else None,
        steps=tuple(_steps(packet, outcome, listeners, became)),
    )


def _steps(packet: Packet, outcome: Outcome, listeners: Sequence[ListenerReport], became: str) -> Iterator[Step]:
    listener = _listener(outcome, listeners)
    yield Step("packet", str(packet))
    yield Step("at", f"{outcome.place} ({outcome.place.program})")
    if outcome.asked is not None:
        yield from _gateway(packet, outcome, outcome.asked, listener, listeners)
    if packet.flow is not None and (outcome.met or outcome.flow or (outcome.asked and outcome.asked.listener)):
        yield Step("flow", _met(packet, outcome))
    yield from _backend(outcome, listener)
    if outcome.flow is not None and outcome.verdict in _CARRIED:
        yield Step("backend sees", _seen(outcome, outcome.flow))
    if (way := _way(outcome)) is not None:
        yield Step("way", way)
    if became:
        yield Step("becomes", became)
    yield Step("verdict", f"{words(outcome.verdict)}. {MEANING[outcome.verdict]}")
    if why := _why(packet, outcome, listener):
        yield Step("because", why)
    if not outcome.same_build:
        yield Step("note", f"the {outcome.place.program} that is hooked is of another build, and may decide otherwise")


# ---- gateway and listener


def _gateway(
    packet: Packet, outcome: Outcome, asked: Asked, listener: ListenerReport | None, listeners: Sequence[ListenerReport]
) -> Iterator[Step]:
    if asked.gateway is None:
        yield Step("gateway", f"none: {asked.address} is no gateway's address")
        return
    names = sorted({x.gateway for x in listeners if str(asked.address) in x.addresses})
    node = ", and the node's own too" if asked.gateway & GATEWAY_NODE_ADDRESS else ""
    yield Step("gateway", f"{asked.address} is an address of {', '.join(names) or 'a gateway'}{node}")
    protocol = outcome.met.record.protocol.value if outcome.met else packet.flow.protocol if packet.flow else 0
    if protocol not in (TCP, UDP):
        return
    port = f"{'TCP' if protocol == TCP else 'UDP'}/{asked.port}"
    if asked.listener is None:
        yield Step("listener", f"none at {port}")
    elif listener is None:
        yield Step("listener", f"number {asked.listener.listener_id} at {port}, which the last report does not name")
    else:
        route = f"{listener.route_kind} {listener.route}" if listener.route else "no route is attached"
        yield Step("listener", f"{listener.name} at {port} of Gateway {listener.gateway}; {route}")
        if listener.policies:
            yield Step("policy", f"new flows are subject to FlowPolicy {' and '.join(listener.policies)}")


def _listener(outcome: Outcome, listeners: Sequence[ListenerReport]) -> ListenerReport | None:
    number = outcome.asked.listener.listener_id if outcome.asked and outcome.asked.listener else None
    if number is None and outcome.backend is not None:
        number = outcome.backend.listener_id
    return next((x for x in listeners if x.id == number), None)


# ---- flow


def _met(packet: Packet, outcome: Outcome) -> str:
    met, flow = outcome.met, outcome.flow
    if met is None:
        if flow is None:
            return "none"
        midstream = packet.tuple is not None and packet.tuple.protocol == TCP and "S" not in packet.flags
        return "none: a stream that is under way is adopted as a new one" if midstream else "none: it begins a new one"
    said = _described(met)
    if flow is None:
        return f"{said}; this packet ends it" if outcome.verdict != "VERDICT_NOT_OURS" else said
    if flow.record.generation != met.record.generation:
        return f"{said}; it counts as gone, and a new one begins"
    if flow.record.state != met.record.state:
        return f"{said}; this packet makes it {words(flow.record.state)}"
    return said


def _described(met: MetFlow) -> str:
    record = met.record
    packets, octets = record.request_packets + record.reply_packets, record.request_bytes + record.reply_bytes
    which = "a reply of" if met.is_reply else "of"
    half = "" if record.whole else ", but half of it is missing"
    return (
        f"{which} {record.client} -> {record.gateway}: {words(record.state)}, idle {record.idle} s, "
        f"{packets} packets, {octets} bytes{half}"
    )


def _flow(met: MetFlow) -> Flow:
    record = met.record
    return Flow(
        table=record.table,
        state=label(record.state),
        client=str(record.client),
        gateway=str(record.gateway),
        seen_as=str(record.seen_as),
        backend=str(record.backend),
        idle=record.idle,
        packets=record.request_packets + record.reply_packets,
        bytes=record.request_bytes + record.reply_bytes,
    )


# ---- backend


def _backend(outcome: Outcome, listener: ListenerReport | None) -> Iterator[Step]:
    if outcome.slot is not None:
        what = ", which is rejected" if outcome.backend_id == BACKEND_REJECT else ""
        yield Step("slot", f"{outcome.slot} of {POOL_SLOTS}{what}")
    if outcome.backend is None:
        return
    ref, endpoint = _endpoint(outcome, listener)
    name = f"{ref.name} at {_at(outcome)}" if ref else f"{_at(outcome)} (number {outcome.backend_id})"
    target = f" ({endpoint.target})" if endpoint and endpoint.target else ""
    share = f"; weight {ref.weight}, {ref.share:.1%} of new flows" if ref else ""
    if endpoint and ref and f"{endpoint.share:.1%}" != f"{ref.share:.1%}":
        share += f", {endpoint.share:.1%} for this endpoint"
    yield Step("backend", f"{name}{target}, {outcome.backend.state.name.lower()}{share}")


def _endpoint(outcome: Outcome, listener: ListenerReport | None) -> tuple[BackendReport | None, EndpointReport | None]:
    """What the report knows of the backend, if it means the same endpoint by its number."""
    if outcome.backend is None or listener is None:
        return None, None
    for ref in listener.backends:
        for x in ref.endpoints:
            if (x.id, x.place) == (outcome.backend_id, _at(outcome)):
                return ref, x
    return None, None


def _at(outcome: Outcome) -> str:
    if outcome.backend is None:
        return ""
    address, port = outcome.backend.address, outcome.backend.port
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


# ---- whose address, and which way


def _seen(outcome: Outcome, flow: MetFlow) -> str:
    record, seen = flow.record, flow.record.seen_as
    remote = "FLOW_REMOTE" in flow.flags
    if "FLOW_SNAT" not in flow.flags:
        if remote:
            return f"{seen}, the client: its network behind {outcome.way_out} is declared symmetric"
        return f"{seen}, the client: the backend is on this node, so its replies must pass a hook of ours"
    port = "the client's port" if seen.port == record.client.port else "a port by chance: another trial finds another"
    if remote:
        low, high = outcome.snat_ports
        way = f" behind {outcome.way_out}" if outcome.way_out else ""
        if seen.address == record.gateway.address:
            return f"{seen}, the gateway's address and a port: {outcome.way_out} has no address of this family to lend"
        return (
            f"{seen}, the node's address and {port} ({low}-{high}): the backend is{way}, and its replies must find us"
        )
    if outcome.place.role is Role.LOCAL:
        return f"{seen}, the gateway's address and {port}: the client is on this node, or in a pod on it"
    return f"{seen}, the gateway's address and {port}: another flow has the client's address and port there"


def _way(outcome: Outcome) -> str | None:
    name, local = outcome.place.link.name, outcome.place.role is Role.LOCAL
    if _is_answer(outcome):
        return "the answer goes back by penstock0" if local else f"the answer goes back out of {name}"
    if outcome.verdict not in _CARRIED:
        return None
    if not outcome.redirected:
        return "out of " + name if outcome.place.direction is Direction.EGRESS else "up the stack"
    if outcome.marked:
        return "past the stack, straight out of an uplink"
    if local or (outcome.flow is not None and "FLOW_SNAT" in outcome.flow.flags):
        return "by penstock0, up the stack"
    return f"past the stack, to the pod behind {outcome.way_out}"


def _is_answer(outcome: Outcome) -> bool:
    return outcome.verdict.removeprefix("VERDICT_") in _ANSWERS


# ---- why


def _why(packet: Packet, outcome: Outcome, listener: ListenerReport | None) -> str:
    match outcome.verdict:
        case "VERDICT_NOT_OURS":
            return why_not_ours(packet, outcome)
        case "VERDICT_REJECTED_RST" | "VERDICT_REJECTED_ICMP" | "DROP_REJECT_SHARE":
            return _why_turned_away(outcome, listener)
        case (
            "VERDICT_REFUSED_DENIED"
            | "DROP_DENIED"
            | "VERDICT_REFUSED_LIMITED"
            | "VERDICT_RESET_LIMITED"
            | "DROP_LIMITED"
        ):
            return _why_by_policy(packet, outcome, listener)
        case "DROP_MALFORMED":
            return packet.fault
        case "DROP_RATE_LIMITED":  # a trial's own count begins at nothing
            return "the agent was told to send no answers at all"
    return ""


def _why_turned_away(outcome: Outcome, listener: ListenerReport | None) -> str:
    if outcome.met is not None and outcome.backend_id != BACKEND_REJECT:
        return "the flow's backend is gone"
    if outcome.asked is not None and outcome.asked.listener is None:
        return "nobody listens at that port of the gateway"
    return _rejected(listener)


def _why_by_policy(packet: Packet, outcome: Outcome, listener: ListenerReport | None) -> str:
    names = " and ".join(listener.policies) if listener and listener.policies else "that the last report does not name"
    if "LIMITED" in outcome.verdict:
        met = outcome.asked
        who = f"source {met.one_source}" if met and met.one_source and not met.is_full else "the listener"
        return f"{who} has as many connections as FlowPolicy {names} allows"
    said = outcome.asked.source if outcome.asked else None
    rule = f"{said.network} is in deny" if said is not None and not said.allowed else "it is in no network of allow"
    return f"FlowPolicy {names} does not let {packet.tuple.source if packet.tuple else ''} begin flows: {rule}"


def _rejected(listener: ListenerReport | None) -> str:
    if listener is None or not listener.backends:
        return "no backendRef can serve it" + ("" if listener is None else ": no route is attached")
    why = [f"{x.name}: {x.why}" for x in listener.backends if x.why]
    return "it falls on the share that is rejected" + (f" ({'; '.join(why)})" if why else "")
