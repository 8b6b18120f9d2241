"""Which interfaces are uplinks. Pure.

Rules: with names, exactly those that exist and are Ethernet. With "auto", every Ethernet interface that carries a
default route of the main table, and every one that carries our hooks already: a default route that flaps, or moves to
another interface, must not take the hooks away from flows that are alive there. An uplink is given up only when its
interface goes, when other names are set, or by `penstock down`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from agent.dataplane import own_interface
from agent.dataplane.fib import Route
from agent.dataplane.links import Link
from agent.settings import AUTO


@dataclass(frozen=True, slots=True)
class Uplinks:
    """The interfaces to hook, by ifindex, and a note for each that should be one and cannot."""

    links: Mapping[int, Link]
    notes: tuple[str, ...]


def choose(
    wanted: tuple[str, ...], links: Mapping[int, Link], routes: Collection[Route], hooked: Collection[int]
) -> Uplinks:
    """Uplinks of a node that has these links and routes, `hooked` carrying our hooks."""
    candidates, notes = _automatic(links, routes, hooked) if wanted == (AUTO,) else _named(wanted, links)
    notes += [f"{x.name} is not an Ethernet interface and cannot be an uplink" for x in candidates if not x.ethernet]
    return Uplinks({x.index: x for x in candidates if x.ethernet}, tuple(notes))


def _automatic(
    links: Mapping[int, Link], routes: Collection[Route], hooked: Collection[int]
) -> tuple[list[Link], list[str]]:
    indexes = {x.interface for x in routes if x.length == 0} | set(hooked)
    found = [x for x in links.values() if x.index in indexes and x.name not in (own_interface.NAME, own_interface.PEER)]
    return found, [] if found else ["no interface carries a default route: name the uplinks (--uplink)"]


def _named(wanted: tuple[str, ...], links: Mapping[int, Link]) -> tuple[list[Link], list[str]]:
    by_name = {x.name: x for x in links.values()}
    missing = [f"uplink {name} does not exist (yet)" for name in wanted if name not in by_name]
    return [by_name[name] for name in wanted if name in by_name], missing
