"""How full the tables are."""

from __future__ import annotations

from agent.dataplane.apply import write_image
from agent.dataplane.usage import TableUse, UsageMeter

from .images import GATEWAY, backend, make_image, pool
from .packets import CLIENT, datagram, syn


def used(meter: UsageMeter) -> dict[str, tuple[int, int]]:
    return {x.name: (x.used, x.room) for x in meter.read()}


def test_rooms_are_those_of_the_settings_less_what_means_none(loaded) -> None:
    assert used(UsageMeter(loaded.tables)) == {
        "tcp_flows4": (0, 1024),
        "tcp_flows6": (0, 1024),
        "half_open4": (0, 1024),
        "half_open6": (0, 1024),
        "udp_flows4": (0, 1024),
        "udp_flows6": (0, 1024),
        "snat_ports": (0, 0),
        "listeners": (0, 8),
        "gateways": (0, 8),
        "interfaces": (0, 16),
        "policies": (0, 7),
        "source_ranges": (0, 8),
        "source_connections": (0, 8192),
        "pools": (0, 7),
        "backends": (0, 62),
        "other": (0, 0),
    }


def test_flows_count_in_pairs_and_entries_as_they_are(loaded) -> None:
    image = make_image(ports=(80, 81), pools={1: pool(2), 2: pool(3)}, backends={2: backend(), 3: backend(3, state=0)})
    write_image(loaded.tables, image)
    for port in range(5):
        loaded.run("uplink_ingress", syn(CLIENT, GATEWAY, 4000 + port))
        loaded.run("uplink_ingress", datagram(CLIENT, GATEWAY, 4000 + port, 80))
    loaded.tables.flow_usage.set(0, {**loaded.tables.flow_usage.get(0), "tcp4": 7, "tcp6": -1})
    found = used(UsageMeter(loaded.tables))
    assert found["half_open4"] == (5, 1024)
    assert found["udp_flows4"] == (5, 1024)
    assert found["tcp_flows4"] == (7, 1024)
    assert found["tcp_flows6"] == (0, 1024)  # counted down before it was counted up: never below nothing
    assert (found["listeners"], found["pools"], found["backends"]) == ((4, 8), (2, 7), (1, 62))


def test_tables_that_evict_are_not_scanned_each_time(loaded) -> None:
    write_image(loaded.tables, make_image())
    meter = UsageMeter(loaded.tables)
    assert used(meter)["udp_flows4"] == (0, 1024)
    loaded.run("uplink_ingress", datagram(CLIENT, GATEWAY, 4000, 80))
    assert used(meter)["udp_flows4"] == (0, 1024)
    assert used(UsageMeter(loaded.tables))["udp_flows4"] == (1, 1024)


def test_memory_is_what_the_kernel_charged(loaded) -> None:
    uses = {x.name: x for x in UsageMeter(loaded.tables).read()}
    assert sum(x.memory_bytes for x in uses.values()) == sum(x.memory_bytes for x in loaded.tables)
    assert uses["tcp_flows4"].bytes_per_flow == uses["tcp_flows4"].memory_bytes // 2048
    assert uses["pools"].memory_bytes >= 8 * 4 * 4093
    assert uses["listeners"].bytes_per_flow == 0


def test_fill_is_a_share() -> None:
    assert [TableUse("x", used, room, 0).fill for used, room in ((0, 0), (1, 4), (4, 4))] == [0.0, 0.25, 1.0]
