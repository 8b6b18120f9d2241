"""What `vagrant up` writes becomes phases of its machines."""

import io

from vagranttest.follow import Follower
from vmtest.progress import Lane

UP = """\
Bringing machine 'gw1' up with 'libvirt' provider...
==> gw1: Creating domain with the following settings...
==> gw1:  -- Cpus:              1
    gw1: SSH username: vagrant
==> gw1: Running provisioner: gateway (shell)...
==> gw2: Starting domain.
"""


def followed(text: str) -> tuple[Follower, dict[str, Lane], str]:
    lanes, log = {name: Lane(name) for name in ("gw1", "gw2", "client")}, io.StringIO()
    follower = Follower(lanes, log)
    for line in text.splitlines(keepends=True):
        follower.line(line)
    return follower, lanes, log.getvalue()


def test_a_machine_is_where_its_last_heading_says_and_up_when_the_next_one_begins():
    _, lanes, _ = followed(UP)
    assert {x.label: (x.phase, x.finished) for x in lanes.values()} == {
        "gw1": ("up", True),
        "gw2": ("Starting domain.", False),
        "client": ("waiting", False),
    }


def test_the_machine_to_look_at_is_the_one_that_was_named_last_in_whatever_way():
    assert followed(UP)[0].last == "gw2"
    assert followed(UP + "    gw1: the agent is not ready\n")[0].last == "gw1"


def test_details_and_settings_are_no_phase():
    (_, lanes, _) = followed("".join(UP.splitlines(keepends=True)[:4]))
    assert lanes["gw1"].phase == "Creating domain with the following settings..."


def test_everything_is_kept():
    follower, _, log = followed(UP)
    assert log == follower.text == UP
