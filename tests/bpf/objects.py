"""The compiled objects, and the names of abi.h as Python sees them.

Rules: every number comes from the object's own BTF; a name that abi.h loses breaks the import, not a test's meaning.
An object that is missing is built; where there is no compiler it has to be there.
"""

from __future__ import annotations

import subprocess
from enum import IntEnum
from pathlib import Path

from loader.btf import Btf

ROOT = Path(__file__).parents[2]
TC_OBJECT = ROOT / "build" / "tc.bpf.o"
XDP_OBJECT = ROOT / "build" / "xdp.bpf.o"
AGE_OBJECT = ROOT / "build" / "age.bpf.o"
RACE_OBJECT = ROOT / "build" / "race.bpf.o"


def _built(path: Path) -> Path:
    if not path.exists():
        subprocess.run(["make", "-s", "-C", ROOT, path.relative_to(ROOT)], check=True, timeout=300)
    return path


_BTF = Btf.from_object_file(_built(TC_OBJECT))
_built(XDP_OBJECT)
_built(AGE_OBJECT)
_built(RACE_OBJECT)

Hook: type[IntEnum] = _BTF.enum("hook")
Verdict: type[IntEnum] = _BTF.enum("verdict")
FlowState: type[IntEnum] = _BTF.enum("flow_state")
_BackendState = _BTF.enum("backend_state")
PolicyFlag: type[IntEnum] = _BTF.enum("policy_flag")
SourceRule: type[IntEnum] = _BTF.enum("source_rule")
_Role = _BTF.enum("interface_role")
_FlowFlag = _BTF.enum("flow_flag")
_Delivery = _BTF.enum("delivery")

VERDICTS = int(Verdict["VERDICT_COUNT"])
HOOKS = int(Hook["HOOK_COUNT"])
POOL_SLOTS = int(_BTF.enum("limits")["POOL_SLOTS"])

UPLINK_INGRESS = Hook["HOOK_UPLINK_INGRESS"]
UPLINK_EGRESS = Hook["HOOK_UPLINK_EGRESS"]
LOCAL_EGRESS = Hook["HOOK_LOCAL_EGRESS"]
POD_INGRESS = Hook["HOOK_POD_INGRESS"]
UPLINK_XDP = Hook["HOOK_UPLINK_XDP"]
PROGRAMS = {
    UPLINK_INGRESS: "uplink_ingress",
    UPLINK_EGRESS: "uplink_egress",
    LOCAL_EGRESS: "local_egress",
    POD_INGRESS: "pod_ingress",
}
XDP_PROGRAM = "uplink_xdp"

NOT_OURS = Verdict["VERDICT_NOT_OURS"]
FORWARDED = Verdict["VERDICT_FORWARDED"]
REPLIED = Verdict["VERDICT_REPLIED"]
REJECTED_RST = Verdict["VERDICT_REJECTED_RST"]
REJECTED_ICMP = Verdict["VERDICT_REJECTED_ICMP"]
NEIGHBOUR = Verdict["VERDICT_NEIGHBOUR"]
PING = Verdict["VERDICT_PING"]
RELATED = Verdict["VERDICT_RELATED"]
TOO_BIG = Verdict["VERDICT_TOO_BIG"]
HELD = Verdict["VERDICT_HELD"]
REDIRECTED = Verdict["VERDICT_REDIRECTED"]
REFUSED_TABLE_FULL = Verdict["VERDICT_REFUSED_TABLE_FULL"]
REFUSED_COLLISION = Verdict["VERDICT_REFUSED_COLLISION"]
REFUSED_MIDSTREAM = Verdict["VERDICT_REFUSED_MIDSTREAM"]
REFUSED_DENIED = Verdict["VERDICT_REFUSED_DENIED"]
MALFORMED = Verdict["DROP_MALFORMED"]
FRAGMENT = Verdict["DROP_FRAGMENT"]
PROTOCOL = Verdict["DROP_PROTOCOL"]
REJECT_SHARE = Verdict["DROP_REJECT_SHARE"]
NO_BACKEND = Verdict["DROP_NO_BACKEND"]
RATE_LIMITED = Verdict["DROP_RATE_LIMITED"]
COLLISION = Verdict["DROP_COLLISION"]
MIDSTREAM = Verdict["DROP_MIDSTREAM"]
DENIED = Verdict["DROP_DENIED"]
REFUSED_LIMITED = Verdict["VERDICT_REFUSED_LIMITED"]
RESET_LIMITED = Verdict["VERDICT_RESET_LIMITED"]
LIMITED = Verdict["DROP_LIMITED"]
TABLE_FULL = Verdict["DROP_TABLE_FULL"]
NO_FLOW = Verdict["DROP_NO_FLOW"]
MARTIAN = Verdict["DROP_MARTIAN"]
MOVING = Verdict["DROP_MOVING"]

SYN = FlowState["FLOW_SYN"]
SYN_ACK = FlowState["FLOW_SYN_ACK"]
ADOPTED = FlowState["FLOW_ADOPTED"]
ADOPTED_BOTH = FlowState["FLOW_ADOPTED_BOTH"]
ESTABLISHED = FlowState["FLOW_ESTABLISHED"]
CLOSING = FlowState["FLOW_CLOSING"]
CLOSED = FlowState["FLOW_CLOSED"]
RESET = FlowState["FLOW_RESET"]
UDP_FLOW = FlowState["FLOW_UDP"]

FLOW_FIN = int(_FlowFlag["FLOW_FIN"])
FLOW_REPLY = int(_FlowFlag["FLOW_REPLY"])
FLOW_SNAT = int(_FlowFlag["FLOW_SNAT"])
FLOW_REMOTE = int(_FlowFlag["FLOW_REMOTE"])
FLOW_BACKEND_FIRST = int(_FlowFlag["FLOW_BACKEND_FIRST"])
FLOW_REDIRECT = int(_FlowFlag["FLOW_REDIRECT"])

BACKEND_FREE = int(_BackendState["BACKEND_FREE"])
BACKEND_ACTIVE = int(_BackendState["BACKEND_ACTIVE"])
BACKEND_DRAINING = int(_BackendState["BACKEND_DRAINING"])
BACKEND_ABSENT = int(_BackendState["BACKEND_ABSENT"])
BACKEND_GONE = int(_BackendState["BACKEND_GONE"])
BACKEND_NONE = 0
BACKEND_REJECT = int(_BTF.enum("backend_id")["BACKEND_REJECT"])

INTERFACE_UPLINK = int(_Role["INTERFACE_UPLINK"])
INTERFACE_LOCAL = int(_Role["INTERFACE_LOCAL"])
INTERFACE_POD = int(_Role["INTERFACE_POD"])
GATEWAY_NODE_ADDRESS = int(_BTF.enum("gateway_flag")["GATEWAY_NODE_ADDRESS"])
DELIVERY_STACK = int(_Delivery["DELIVERY_STACK"])
DELIVERY_REDIRECT = int(_Delivery["DELIVERY_REDIRECT"])

# What a program of TC returns (linux/pkt_cls.h).
PASS = -1  # TC_ACT_UNSPEC: the next program sees the packet
SHOT = 2
REDIRECT = 7
# ... and XDP's (enum xdp_action of linux/bpf.h).
XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT = 1, 2, 3, 4
