"""The state of the agent and of the objects, drawn for a terminal.

Decides: what an operator must see first: whether the kernel holds what the manifests ask for, how old that knowledge
is, and what is wrong. Rules: values in, renderables out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.cli.findings import findings
from agent.cli.table import titled
from agent.report import ListenerReport, ObjectStatus, Report
from routes.objects.gateway import GatewayClass
from routes.objects.policy import FlowPolicy


def overview(report: Report, *, agent: int | None, now: float) -> RenderableType:
    """A few lines on the agent, and everything that is wrong. `agent`: the process that runs, None if there is none.
    `now` is seconds since the epoch.
    """
    return Group(*_agent(report, agent, now), *_absent(report), *_trouble(report))


def gateways(objects: Sequence[ObjectStatus]) -> Table:
    """One line per Gateway and route."""
    table = titled("Gateways and routes")
    for name in ("object", "addresses", "conditions"):
        table.add_column(name, overflow="fold")
    for status in objects:
        if status.kind in (GatewayClass.KIND, FlowPolicy.KIND):
            continue
        table.add_row(str(status), ", ".join(status.addresses), _conditions(status))
    return table


def policies(objects: Sequence[ObjectStatus], listeners: Iterable[ListenerReport]) -> Iterable[Table]:
    """One line for each target of a policy: what is in effect there. `listeners`: those that are served."""
    asked = {x for listener in listeners for x in listener.policies}
    found = [x for x in objects if x.kind == FlowPolicy.KIND]
    if not found:
        return
    table = titled("Policies")
    for name in ("policy", "target", "in effect", "conditions"):
        table.add_column(name, overflow="fold")
    for status in found:
        for place in status.places:
            said = {x.type: x for x in place.conditions}
            effect = said["Effective"].message if "Effective" in said else ""
            if effect and f"{status.namespace}/{status.name}" not in asked:
                effect = f"nowhere, no listener that is served asks it ({effect})"
            conditions = ", ".join(sorted(f"{x.type}={x.status}" for x in place.conditions))
            table.add_row(f"{status.namespace}/{status.name}", place.place.removeprefix("target "), effect, conditions)
    yield table


def _agent(report: Report, agent: int | None, now: float) -> list[Text]:
    applied = report.applied
    age = "never" if applied.verified_at is None else f"{max(0.0, now - applied.verified_at):.0f} s ago"
    state = "ready" if report.ready else "NOT READY"
    return [
        Text(f"{report.node}: {state}; {_process(report, agent)}; read back from the kernel {age}", style="bold"),
        Text(f"{report.source.name}, uplinks {', '.join(report.uplinks) or 'none'}, {_settings(report.settings)}"),
        Text(f"kernel {report.features.get('kernel', '?')}, {_lacks(report.features)}"),
        *(Text(f"XDP on {name}: {text}") for name, text in report.xdp.items()),
    ]


def _process(report: Report, agent: int | None) -> str:
    if agent is None:
        return "NO AGENT RUNS (the kernel goes on with what it has)"
    if agent == report.pid:
        return f"agent {agent} runs"
    return f"agent {agent} starts (until it has, this is what agent {report.pid} said, which ended)"


def _settings(settings: dict[str, str]) -> str:
    return f"delivery {settings.get('delivery', '?')}, http://{settings.get('metrics_address', '?')}"


def _lacks(features: dict[str, str]) -> str:
    lacks = [name for name, value in features.items() if value == "no"]
    return f"without {', '.join(lacks)}" if lacks else "with all features"


def _absent(report: Report) -> list[Text]:
    why = "it has errors and no last good state: none of its objects counts, nor what its policies deny"
    return [Text(f"NOT IN FORCE: {x}: {why}", style="bold red") for x in report.source.absent]


def _trouble(report: Report) -> list[Text]:
    lines = [Text(f"error: {report.applied.error}", style="red")] if report.applied.error else []
    lines += [Text(f"error: {x}", style="red") for x in report.source.errors]
    lines += [Text(f"unserved: {x}", style="yellow") for x in report.unserved]
    lines += [Text(f"warning: {x}", style="yellow") for status in report.objects for x in findings(status)]
    return lines + [Text(f"note: {x}") for x in report.notes]


def _conditions(status: ObjectStatus) -> str:
    """A Gateway's own conditions; a route's, from all its parents."""
    own = [x for x in status.places if not x.place] or status.places
    return ", ".join(sorted({f"{x.type}={x.status}" for place in own for x in place.conditions}))
