"""Reports reach the disk, the newest last, whatever their size."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from agent import report
from agent.publisher import SMALL, Publisher
from agent.report import AppliedReport, ObjectStatus, Report, SourceReport

QUIET = Report("node", 7, 1.0, 1.0, SourceReport("folder x", True, 1.0), AppliedReport(1.0, 1.0, 0.25))


def told(number: int, size: int) -> Report:
    objects = tuple(ObjectStatus("TCPRoute", "default", f"r{i}", ()) for i in range(size))
    return replace(QUIET, written_at=float(number), objects=objects)


def test_a_small_report_is_there_at_once(tmp_path: Path) -> None:
    with contextlib.closing(Publisher(tmp_path)) as publisher:
        for number in range(3):
            publisher.publish(told(number, SMALL))
            assert report.load(tmp_path) == told(number, SMALL)


@pytest.mark.parametrize("sizes", [(SMALL + 1,) * 5, (SMALL + 1, 3), (3, SMALL + 1, 3, SMALL + 1)])
def test_the_newest_is_there_in_the_end(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    with contextlib.closing(Publisher(tmp_path)) as publisher:
        for number, size in enumerate(sizes):
            publisher.publish(told(number, size))
    assert report.load(tmp_path) == told(len(sizes) - 1, sizes[-1])


def test_one_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with contextlib.closing(Publisher(tmp_path / "file" / "run")) as publisher:
        publisher.publish(told(0, 1))
        publisher.publish(told(1, SMALL + 1))
