"""Two entries of the kernel become one record for people."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from agent.dataplane.apply import write_image
from agent.dataplane.flows import Endpoint, FlowRecord, backends_in_use, read_flows
from routes.plan import Address, Protocol

from .images import BACKEND, BACKEND6, GATEWAY, GATEWAY6, backend, make_image, pool
from .packets import CLIENT, CLIENT6, datagram, syn

FAMILIES = {4: (CLIENT, GATEWAY, BACKEND), 6: (CLIENT6, GATEWAY6, BACKEND6)}


@pytest.fixture
def serve(loaded):
    def write(gateway: Address, address: Address) -> None:
        image = make_image(gateways={gateway: 0}, backends={2: backend(address=address)}, pools={1: pool(2)})
        write_image(loaded.tables, image)

    return write


@pytest.mark.parametrize("family", FAMILIES)
def test_a_handshake_that_began(loaded, serve, family: int) -> None:
    client, gateway, address = FAMILIES[family]
    serve(gateway, address)
    loaded.run("uplink_ingress", syn(client, gateway))
    (found,) = read_flows(loaded.tables)
    assert found == FlowRecord(
        table=f"half_open{family}",
        protocol=Protocol.TCP,
        generation=found.generation,
        state="FLOW_SYN",
        client=Endpoint(ip_address(client), 4000),
        gateway=Endpoint(gateway, 80),
        seen_as=Endpoint(ip_address(client), 4000),
        backend=Endpoint(address, 8080),
        backend_id=2,
        redirected=False,
        idle=found.idle,
        request_packets=1,
        request_bytes=found.request_bytes,
        reply_packets=0,
        reply_bytes=0,
        whole=True,
    )
    assert found.generation
    assert found.idle <= 5
    assert found.request_bytes >= 40
    assert backends_in_use(loaded.tables) == {2}


@pytest.mark.parametrize("family", FAMILIES)
def test_both_directions_are_counted(loaded, serve, family: int) -> None:
    client, gateway, address = FAMILIES[family]
    serve(gateway, address)
    for _ in range(3):
        loaded.run("uplink_ingress", datagram(client, gateway, 4000, 80))
    for _ in range(2):
        loaded.run("uplink_egress", datagram(address, client, 8080, 4000))
    (found,) = read_flows(loaded.tables)
    assert (found.table, found.state, found.whole) == (f"udp_flows{family}", "FLOW_UDP", True)
    assert (found.request_packets, found.reply_packets) == (3, 2)
    assert (found.request_bytes // 3, found.reply_bytes // 2) == (found.request_bytes / 3, found.reply_bytes / 2)


def test_half_a_pair_says_so(loaded, serve) -> None:
    serve(GATEWAY, BACKEND)
    loaded.run("uplink_ingress", datagram(CLIENT, GATEWAY, 4000, 80))
    table = loaded.tables.flows["udp_flows4"]
    for key, _ in list(table.items()):
        if key["saddr"] == BACKEND.packed:
            table.delete(key)
    (found,) = read_flows(loaded.tables)
    assert not found.whole
    assert (found.request_packets, found.reply_packets) == (1, 0)


def test_no_flows_no_records(loaded) -> None:
    assert list(read_flows(loaded.tables)) == []
    assert backends_in_use(loaded.tables) == frozenset()


@pytest.mark.parametrize(("address", "text"), [("10.0.0.1", "10.0.0.1:80"), ("fd00::1", "[fd00::1]:80")])
def test_an_end_as_people_write_it(address: str, text: str) -> None:
    assert str(Endpoint(ip_address(address), 80)) == text
