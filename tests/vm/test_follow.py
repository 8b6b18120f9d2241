"""How far a guest's tests have come, from what `pytest -v` writes, in whatever pieces it comes."""

import io

import pytest
from vmtest.follow import Follower

WRITTEN = b"""============================= test session starts ==============================
collected 4 items

tests/bpf/test_tcp.py::test_a[IPv4-TCP] PASSED                           [ 25%]
tests/net/test_reach.py::test_b[stack, no offloads-IPv4] FAILED [ 50%]
tests/net/test_reach.py::test_c SKIPPED (no such thing)                  [ 75%]
tests/net/test_reach.py::test_d ERROR [100%]
=================================== FAILURES ===================================
"""


@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_outcomes_and_share(piece):
    log = io.BytesIO()
    follower = Follower(log)
    for at in range(0, len(WRITTEN), piece):
        follower.write(WRITTEN[at : at + piece])
    assert (follower.passed, follower.failed, follower.percent) == (1, 2, 100)
    assert log.getvalue() == WRITTEN


def test_a_test_that_has_begun_is_the_one_that_runs():
    follower = Follower(io.BytesIO())
    follower.write(b"tests/bpf/test_tcp.py::test_a PASSED [ 25%]\ntests/net/test_reach.py::test_b[stack, x] ")
    assert follower.running == "tests/net/test_reach.py::test_b[stack, x]"
    assert follower.passed == 1


def test_other_lines_are_nothing():
    follower = Follower(io.BytesIO())
    follower.write(b"E  assert 'PASSED' in '[ 10%]'\nhalf a line of a traceback")
    assert (follower.passed, follower.failed, follower.percent, follower.running) == (0, 0, 0, "")
