"""Settings that cannot be used are refused, all at once, each by its name."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from agent.settings import IdleLimits, Settings, SettingsError, TableSizes, split_address


def test_the_defaults_are_valid() -> None:
    assert Settings().uplinks == ("auto",)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"uplinks": ()}, "--uplink: none given"),
        ({"uplinks": ("auto", "eth0")}, "'auto' stands alone"),
        ({"uplinks": ("eth0", "eth0")}, "'eth0' is given twice"),
        ({"uplinks": ("a/b",)}, "'a/b' cannot be the name of an interface"),
        ({"uplinks": ("sixteen-letters-",)}, "cannot be the name of an interface"),
        ({"tables": TableSizes(tcp_flows=10)}, "--tcp-flows: 10 is not from 1024 to 16777216"),
        ({"limits": IdleLimits(udp=0)}, "--limit-udp: 0 is not from 1 to 86400"),
        ({"absent_grace": -1}, "--absent-grace: -1 is not from 0"),
        ({"reply_rate_limit": -1}, "--reply-rate-limit: -1 is not from 0"),
        ({"pin_dir": Path("pins")}, "--pin-dir: 'pins' is not an absolute path"),
        ({"snat_ports": (80, 90)}, "--snat-ports: 80-90 is no range of ports"),
        ({"snat_ports": (30_000, 20_000)}, "--snat-ports: 30000-20000 is no range of ports"),
        ({"symmetric": ("10.0.0.1/8",)}, "--symmetric: 10.0.0.1/8 has host bits set"),
        ({"symmetric": ("here",)}, "--symmetric: 'here' does not appear to be"),
        ({"symmetric": ("10.0.0.0/8",) * 257}, "--symmetric: 257 are given, and there is room for 256"),
        ({"snat_addresses": (ip_address("10.0.0.1"),) * 256}, "--snat-address: 256 are given, and there is room for 2"),
        ({"metrics_address": "9464"}, "--metrics-address: '9464' does not end in a port"),
        ({"metrics_address": "localhost:9464"}, "does not begin with an IP address"),
        ({"metrics_address": "::1:9464"}, "write an IPv6 address in brackets"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(**given)
    (said,) = caught.value.faults
    assert fault in said


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(uplinks=(), absent_grace=-1, run_dir=Path("run"))
    assert [x.split(":")[0] for x in caught.value.faults] == ["--uplink", "--absent-grace", "--run-dir"]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:9464", "127.0.0.1", 9464), ("[::1]:80", "::1", 80), ("0.0.0.0:1", "0.0.0.0", 1)],
)
def test_an_address_is_host_and_port(text: str, host: str, port: int) -> None:
    assert split_address(text) == (host, port)
