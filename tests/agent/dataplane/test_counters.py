"""What the programs counted, by name and by id, summed over CPUs."""

from __future__ import annotations

from agent.dataplane.apply import write_image
from agent.dataplane.counters import BackendCount, PacketCount, name_verdicts, read_counters

from .images import BACKEND, GATEWAY, make_image, pool
from .packets import CLIENT, datagram, syn


def counted(loaded) -> dict[tuple[str, str], int]:
    return {name: x.packets for name, x in read_counters(loaded.tables).verdicts.items() if x.packets}


def test_every_hook_and_verdict_has_its_place(loaded) -> None:
    verdicts = read_counters(loaded.tables).verdicts
    assert len(verdicts) == loaded.tables.verdicts.max_entries
    assert {hook for hook, _ in verdicts} == set(loaded.tables.names("hook"))
    assert set(verdicts.values()) == {PacketCount()}


def test_each_packet_is_in_one_place(loaded) -> None:
    write_image(loaded.tables, make_image())
    loaded.run("uplink_ingress", datagram(CLIENT, GATEWAY, 4000, 80))
    loaded.run("uplink_egress", datagram(BACKEND, CLIENT, 8080, 4000))
    loaded.run("uplink_ingress", datagram(CLIENT, "10.7.7.7", 4000, 80))
    loaded.run("uplink_egress", datagram("10.7.7.7", CLIENT, 8080, 4000))
    assert counted(loaded) == {
        ("HOOK_UPLINK_INGRESS", "VERDICT_FORWARDED"): 1,
        ("HOOK_UPLINK_EGRESS", "VERDICT_REPLIED"): 1,
        ("HOOK_UPLINK_INGRESS", "VERDICT_NOT_OURS"): 1,
        ("HOOK_UPLINK_EGRESS", "VERDICT_NOT_OURS"): 1,
    }
    found = read_counters(loaded.tables)
    assert found.backends[2] == BackendCount(1, 1, found.backends[2].request_bytes, 1, found.backends[2].reply_bytes)
    assert found.backends[2].request_bytes == found.backends[2].reply_bytes > 0
    assert found.listeners[1].connections == 1


def test_the_share_of_reject_is_the_listeners(loaded) -> None:
    write_image(loaded.tables, make_image(pools={1: pool(1)}, backends={}))
    for port in range(3):
        loaded.run("uplink_ingress", syn(CLIENT, GATEWAY, 4000 + port))
    found = read_counters(loaded.tables)
    assert (found.listeners[1].connections, found.listeners[1].rejected) == (0, 3)
    assert found.backends == {}


def test_names_are_written_once_and_counts_are_kept(loaded) -> None:
    write_image(loaded.tables, make_image())
    loaded.run("uplink_ingress", syn(CLIENT, GATEWAY))
    before = read_counters(loaded.tables).verdicts
    for _ in range(2):
        name_verdicts(loaded.tables)
        assert read_counters(loaded.tables).verdicts == before
    width = len(loaded.tables.names("verdict"))
    named = {(x["hook"], x["verdict"]): n for n, per_cpu in loaded.tables.verdicts.items() for x in per_cpu}
    assert named == {(n // width, n % width): n for n in range(loaded.tables.verdicts.max_entries)}
