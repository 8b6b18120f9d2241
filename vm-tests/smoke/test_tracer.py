"""What bcc makes of the tracer loads on this kernel, without its headers, and sees a packet end."""

import struct
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

from agent.dataplane.sets import put_in_force
from agent.dataplane.trace_filter import TraceFilter
from agent.dataplane.tracer import Tracer
from agent.packet import UDP, Tuple, framed, made
from agent.settings import Settings
from loader.attach import attach, detach
from loader.hook import Direction
from loader.objects import Object
from loader.spec import ObjectSpec

PINS = Path("/sys/fs/bpf/vmsmoke/tracer")
OBJECTS = Settings().object_dir
STRANGER = Tuple(UDP, ip_address("192.0.2.1"), 1000, ip_address("192.0.2.2"), 2000)


@pytest.fixture
def hooked():
    """A program of a gateway without listeners, on an interface of its own: (program, ifindex, MAC)."""
    name = "vmsmoke1"
    subprocess.check_call(["ip", "link", "add", name, "up", "type", "dummy"])
    about = Path(f"/sys/class/net/{name}")
    index, mac = int((about / "ifindex").read_text()), (about / "address").read_text().strip()
    with Object.load(ObjectSpec(OBJECTS / "tc.bpf.o", {"set_number": 1}, {}), PINS / "v1") as loaded:
        put_in_force(PINS / "v1")
        program = loaded.program("uplink_ingress")
        attachment = attach(program, index, Direction.INGRESS, PINS / "v1")
        yield program, index, bytes.fromhex(mac.replace(":", ""))
        detach(attachment, PINS / "v1")
    subprocess.check_call(["ip", "link", "del", name])


@pytest.mark.parametrize(("port", "seen"), [(2000, 1), (2001, 0)])
def test_a_packet_is_traced(hooked, port, seen):
    program, index, mac = hooked
    context = bytearray(192)
    struct.pack_into("=I", context, 40, index)  # struct __sk_buff: ifindex
    with Tracer.open(PINS, OBJECTS, TraceFilter(port=port), 1000) as tracer:
        program.test_run(framed(made(STRANGER, 0, 0, 0), mac), ctx=bytes(context))
        ended = tracer.poll(1.0)
        assert [(x.verdict, x.hook, x.ifindex, x.tuple) for x in ended] == [
            ("VERDICT_NOT_OURS", "HOOK_UPLINK_INGRESS", index, STRANGER)
        ] * seen
