"""Network cards for a guest, two by two at the ends of a cable, so that one guest can be both ends of a wire.

Decides: what a cable is made of: two multi-queue taps in a bridge, in a network namespace that lives and dies with
QEMU; and what each card is called: its MAC ends in its number, cards 0 and 1 are the ends of the first cable.
Rules: as many queues as a driver can want with XDP, which takes a queue for each processor on top of its own.
Must never: touch the network of this machine.
"""

from collections.abc import Iterator, Sequence

MAC = "52:54:00:43:41"
"""The octets before the card's number."""

QUEUES = 4
"""Of each card: two for the guest's two processors, two for XDP on them (drivers/net/virtio_net.c)."""


def namespace(cables: int) -> list[str]:
    """What comes before QEMU's command line: the namespace, with the cables laid."""
    lines = "\n".join(_laid(cables))
    return ["unshare", "--net", "--", "sh", "-ec", f'ip -batch - <<END\n{lines}\nEND\nexec "$@"', "sh"]


def cards(cables: int) -> list[str]:
    """QEMU's options."""
    return [word for number in range(2 * cables) for word in card(number, f"{MAC}:{number:02x}", QUEUES)]


def card(number: int, mac: str, queues: int) -> list[str]:
    """QEMU's options for a card at the end of tapNUMBER, which is there when QEMU starts."""
    tap = f"tap,id=card{number},ifname=tap{number},queues={queues},script=no,downscript=no"
    # Two vectors for each queue, one each for what concerns all. No firmware: nobody boots from it.
    nic = f"virtio-net-pci,netdev=card{number},mac={mac},mq=on,vectors={2 * queues + 2},romfile="
    return ["-netdev", tap, "-device", nic]


def _laid(cables: int) -> Iterator[str]:
    for cable, ends in ((x, _ends(x)) for x in range(cables)):
        # A bridge without addresses is nobody's neighbour; what it knows of groups would keep IPv6's questions back.
        yield f"link add cable{cable} type bridge forward_delay 0 mcast_snooping 0"
        yield f"link set cable{cable} addrgenmode none up"
        for number in ends:
            yield f"tuntap add tap{number} mode tap multi_queue"
            yield f"link set tap{number} addrgenmode none master cable{cable} up"


def _ends(cable: int) -> Sequence[int]:
    return (2 * cable, 2 * cable + 1)
