"""Images become tables, and nothing half-written is ever reachable."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from agent.compile.image import BackendState, MapImage
from agent.dataplane.apply import write_image
from agent.dataplane.changes import changes
from agent.dataplane.counters import BackendCount, ListenerCount, read_counters
from agent.dataplane.errors import TableFull
from agent.dataplane.readback import read_state

from .images import GATEWAY, GATEWAY6, backend, make_image, policy, pool
from .packets import CLIENT, syn

STORY = {
    "the first image": make_image(),
    "more gateways, listeners and backends": make_image(
        gateways={GATEWAY: 0, GATEWAY6: 1},
        ports=(80, 81),
        pools={1: pool(2, 3), 2: pool(4)},
        backends={2: backend(), 3: backend(3), 4: backend(4, listener_id=2)},
    ),
    "one backend drains": make_image(backends={2: backend(), 3: backend(3, state=BackendState.DRAINING)}),
    "it is gone": make_image(backends={2: backend(), 3: backend(3, state=BackendState.GONE)}),
    "its id belongs to another": make_image(
        pools={1: pool(3)}, backends={2: backend(), 3: backend(3, generation=2, port=9)}
    ),
    "a policy": make_image(policies={1: policy("0.0.0.0/0", "10.0.0.0/8", "!::/0", "2001:db8::/32", flags=7)}),
    "other networks": make_image(policies={1: policy("10.0.0.0/8", "!10.1.0.0/16", "2001:db8::/32")}),
    "two policies": make_image(
        ports=(80, 81), policies={1: policy(flags=5, idle_tcp=30, affinity6=64), 2: policy("!2001:db8::/32")}
    ),
    "everybody is rejected": make_image(pools={1: pool(1)}, backends={}),
    "nothing": make_image(gateways={}, ports=(), pools={}, backends={}),
}


def held_as_wanted(loaded, image: MapImage) -> bool:
    return not changes(read_state(loaded.tables, image.pools), image)


def test_each_image_is_held_whatever_was_held_before(loaded) -> None:
    for before in STORY.values():
        for title, image in STORY.items():
            write_image(loaded.tables, before)
            write_image(loaded.tables, image)
            assert held_as_wanted(loaded, image), title
            assert not write_image(loaded.tables, image), title


def test_what_somebody_else_changed_is_found_and_mended(loaded) -> None:
    image = replace(STORY["more gateways, listeners and backends"], policies={1: policy("!10.0.0.0/8", "::/0")})
    tables = loaded.tables
    write_image(tables, image)
    for damage in (
        lambda: tables.gateways.delete({"octets": GATEWAY.packed.ljust(16, b"\0")}),
        lambda: tables.gateways.set({"octets": bytes(16)}, {"flags": 0}),
        lambda: tables.pools.set_raw(tables.pools.key.pack(1), bytes(tables.pools.value.size)),
        lambda: tables.backends.set(2, tables.backends.value.zero),
        lambda: tables.policies.set(1, tables.policies.value.zero),
        lambda: tables.policies.set(1, {**tables.policies.get(1), "idle_udp": 7}),
        lambda: [tables.source_ranges.delete(key) for key, _ in list(tables.source_ranges.items())],
        lambda: [tables.source_ranges.set(key, {"rule": 1}) for key, _ in list(tables.source_ranges.items())],
        lambda: [tables.source_ranges.set({**key, "policy_id": 3}, x) for key, x in list(tables.source_ranges.items())],
        lambda: [tables.listeners.delete(key) for key, _ in list(tables.listeners.items())],
    ):
        damage()
        assert not held_as_wanted(loaded, image)
        write_image(tables, image)
        assert held_as_wanted(loaded, image)


@pytest.mark.parametrize(
    ("image", "table", "option"),
    [
        (make_image(gateways={GATEWAY + i: 0 for i in range(9)}, ports=()), "gateways", "--max-gateways"),
        (make_image(ports=(80, 81, 82, 83, 84), pools={}), "listeners", "--max-listeners"),
        (make_image(pools={8: pool(2)}), "pools", "--max-pools"),
        (make_image(policies={8: policy()}), "policies", "--max-policies"),
        (
            make_image(policies={1: policy(*(f"10.{i}.0.0/16" for i in range(9)))}),
            "source_ranges",
            "--max-source-ranges",
        ),
        (make_image(backends={64: backend()}), "backends", "--max-backends"),
    ],
)
def test_an_image_without_room_writes_nothing(loaded, image: MapImage, table: str, option: str) -> None:
    before = STORY["the first image"]
    write_image(loaded.tables, before)
    with pytest.raises(TableFull, match=f"larger {option}") as caught:
        write_image(loaded.tables, image)
    assert caught.value.table == table
    assert held_as_wanted(loaded, before)


def test_a_full_table_can_be_replaced(loaded) -> None:
    for first in (80, 90):
        image = make_image(ports=range(first, first + 4))  # TCP and UDP: all eight
        write_image(loaded.tables, image)
        assert held_as_wanted(loaded, image)
    for first in (GATEWAY, GATEWAY + 100):
        image = make_image(gateways={first + i: 0 for i in range(8)}, ports=())
        write_image(loaded.tables, image)
        assert held_as_wanted(loaded, image)


def test_counters_start_at_zero_with_a_new_life_only(loaded) -> None:
    tables = loaded.tables
    write_image(tables, make_image())
    for table, number in ((tables.listener_counts, 1), (tables.backend_counts, 2)):
        table.set(number, [dict.fromkeys(table.value.zero, 7) for _ in table.get(number)])
    counted = read_counters(tables)
    assert counted.listeners[1].connections > 0
    assert counted.backends[2].reply_bytes > 0

    write_image(tables, make_image(backends={2: backend(state=BackendState.DRAINING)}))
    write_image(tables, make_image(gateways={GATEWAY6: 0}))
    assert read_counters(tables).listeners == counted.listeners
    assert read_counters(tables).backends == counted.backends

    write_image(tables, make_image(gateways={}, ports=()))
    write_image(tables, make_image(backends={2: backend(generation=2)}))
    assert read_counters(tables).listeners == {1: ListenerCount()}
    assert read_counters(tables).backends == {2: BackendCount()}


def test_no_packet_ever_meets_a_half_written_image(loaded) -> None:
    """SYNs run through the program all the while, from many ports: none finds a pool with a hole, or no listener."""
    calm = make_image(backends={2: backend()})
    moved = make_image(
        ports=(80, 81),
        pools={1: pool(3, 4), 2: pool(4)},
        backends={2: backend(state=BackendState.FREE), 3: backend(3), 4: backend(4)},
    )
    write_image(loaded.tables, calm)
    done = threading.Event()
    sent = 0

    def send() -> None:
        nonlocal sent
        while not done.is_set():
            loaded.run("uplink_ingress", syn(CLIENT, GATEWAY, 1024 + sent % 60000))
            sent += 1

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for _ in range(150):
            for image in (moved, calm):
                write_image(loaded.tables, replace(image))
    finally:
        done.set()
        sender.join()
    assert sent > 0
    seen = {verdict: x.packets for (_, verdict), x in read_counters(loaded.tables).verdicts.items() if x.packets}
    assert seen == {"VERDICT_FORWARDED": sent}
