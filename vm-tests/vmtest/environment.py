"""What the project's virtual environment needs of the system it is carried to.

The environment is made with --system-site-packages, so pip installs nothing that Debian's Python has already (PyYAML,
say). In the guest those would be missing: this module finds them and names the Debian packages that they came in.

Rules:
  - Everything reachable from the project's own requirements counts, extras included, as pip reads them.
Must never: leave out what neither the environment nor a Debian package has: that is an error.
"""

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from . import host

PROJECT = "penstock[dev]"


def borrowed_packages() -> tuple[str, ...]:
    """Debian packages, sorted, that hold what this environment takes from the system. Run it inside the environment.

    Raises VmError when a file of the system belongs to no Debian package.
    """
    borrowed = {
        _owner(distribution)
        for distribution in _reachable(Requirement(PROJECT))
        if not Path(str(distribution.locate_file(""))).is_relative_to(sys.prefix)
    }
    return tuple(sorted(borrowed))


def _reachable(project: Requirement) -> Iterator[importlib.metadata.Distribution]:
    """The distributions that the project needs, without itself."""
    seen: set[tuple[str, str]] = set()
    waiting = [project]
    while waiting:
        needed = waiting.pop()
        distribution = importlib.metadata.distribution(needed.name)
        if needed is not project:
            yield distribution
        for extra in ("", *needed.extras):
            if (needed.name, extra) in seen:
                continue
            seen.add((needed.name, extra))
            for line in distribution.requires or ():
                requirement = Requirement(line)
                if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                    waiting.append(requirement)


def _owner(distribution: importlib.metadata.Distribution) -> str:
    """The package in which the distribution's metadata was installed."""
    folder = getattr(distribution, "_path")  # noqa: B009 # there is no public way to ask
    return host.run(["dpkg", "-S", folder]).split(":", 1)[0].split(",", 1)[0]
