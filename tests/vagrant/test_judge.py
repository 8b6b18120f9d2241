"""What the client got and what the gateways counted: when that is one story, and what is said when it is not."""

import json
from pathlib import Path

import pytest
import yaml
from vagranttest import judge

TREE = Path(__file__).parents[2]
UP = """\
==> client: Running provisioner: client (shell)...
    client: backend1 answered for 192.168.61.10: 12 times
    client: backend2 answered for 192.168.61.10: 8 times
    client: backend1 answered for [fd00:61::10]: 9 times
    client: backend2 answered for [fd00:61::10]: 11 times
    gw1: Gateway default/vagrant at 192.168.61.10, fd00:61::10
    gw1:    default/backend1:8080      50  50.0%  50.0%           10      100   8.8 KiB  node (eth1)  2 active
    gw1:    default/backend2:8080      50  50.0%  50.0%           10      100   8.8 KiB  node (eth1)  2 active
    gw2: Gateway default/vagrant at 192.168.61.10, fd00:61::10
    gw2:    default/backend1:8080      50  50.0%  52.3%           11      110   9.6 KiB  node (eth1)  2 active
    gw2:    default/backend2:8080      50  50.0%  47.6%           10      100   8.8 KiB  node (eth1)  2 active
"""
ASKED = """\
backend1 answered for 192.168.61.10: 1 times
backend2 answered for [fd00:61::10]: 2 times
"""
COUNTED = {"gw1": {"backend1": 20, "backend2": 1}, "gw2": {"backend1": 2, "backend2": 20}}


def test_answers_are_added_up_by_address_and_name():
    assert judge.answers(UP + ASKED) == {
        ("192.168.61.10", "backend1"): 13,
        ("192.168.61.10", "backend2"): 8,
        ("[fd00:61::10]", "backend1"): 9,
        ("[fd00:61::10]", "backend2"): 13,
    }


def test_connections_are_those_of_all_listeners_by_machine():
    def listener(**connections: int) -> dict[str, object]:
        return {"backends": [{"name": f"default/{x}:8080", "connections": y} for x, y in connections.items()]}

    status = {"traffic": {"listeners": [listener(backend1=3, backend2=4), listener(backend2=5)]}}
    assert judge.connections(json.dumps(status)) == {"backend1": 3, "backend2": 9}


@pytest.mark.parametrize(
    ("change", "complaints"),
    [
        pytest.param({}, [], id="one story"),
        pytest.param(
            {"up": UP.replace("backend2 answered for 192", "backend1 answered for 192")},
            [
                "backend2 never answered for 192.168.61.10",
                "backend1 answered 30 times, and the gateways together counted 22 connections to it",
                "backend2 answered 13 times, and the gateways together counted 21 connections to it",
            ],
            id="a backend that never answers",
        ),
        pytest.param(
            {"asked": ASKED + "nobody answered for [fd00:61::10]: 3 times\n"},
            ["3 questions to [fd00:61::10] had no answer"],
            id="questions without an answer",
        ),
        pytest.param(
            {"counted": {"gw1": {"backend1": 22, "backend2": 21}, "gw2": {"backend1": 0, "backend2": 0}}},
            ["gw2 carried nothing"],
            id="all over one gateway",
        ),
        pytest.param(
            {"counted": {**COUNTED, "gw2": {"backend1": 2, "backend2": 19}}},
            ["backend2 answered 21 times, and the gateways together counted 20 connections to it"],
            id="one connection past the gateways",
        ),
        pytest.param(
            {"up": UP.partition("    gw2:    default/backend2")[0]},
            ["`vagrant up` did not show what gw2 counted for backend2"],
            id="a status that is not shown",
        ),
    ],
)
def test_complaints(change, complaints):
    assert judge.wrong(**{"up": UP, "asked": ASKED, "counted": COUNTED} | change) == complaints


def test_addresses_and_backends_are_those_of_the_example():
    objects = [x for path in (TREE / "examples" / "vagrant").glob("*.yaml") for x in yaml.safe_load_all(path.open())]
    (gateway,) = (x for x in objects if x["kind"] == "Gateway")
    addresses = [x["value"] for x in gateway["spec"]["addresses"]]
    assert tuple(f"[{x}]" if ":" in x else x for x in addresses) == judge.ADDRESSES
    (route,) = (x for x in objects if x["kind"] == "TCPRoute")
    assert tuple(x["name"] for x in route["spec"]["rules"][0]["backendRefs"]) == judge.BACKENDS
