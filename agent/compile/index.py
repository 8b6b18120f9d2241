"""What `recompile` must find without looking at everything.

Decides nothing. Rules: an index belongs to the newest of the images that were made one after the other; `move` takes it
away from the one before, for it is changed in place. An image without it can be compiled from too, only from scratch.
Must never hold what does not follow from the image, its plan and its endpoints.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping

from agent.compile.image import BACKEND_FIRST, BackendEntry, BackendState, MapImage
from routes.plan import Address, Endpoint, Listener, Plan, PoolRef

REUSABLE = frozenset({BackendState.FREE, BackendState.GONE})


class Index:
    """By what they belong to: positions in the plan, targets, backend ids.

    users: pool -> positions of the plan's listeners that refer to it. present: address -> the endpoints there.
    of_listener: listener_id -> its backends that are not FREE. retired: backends that are neither ACTIVE nor FREE.
    spare: ids that may be given away, in order; and from `top` on every id may.
    """

    def __init__(self, plan: Plan, endpoints: Mapping[PoolRef, tuple[Endpoint, ...]], image: MapImage) -> None:
        self.plan = plan
        self.endpoints = endpoints
        self.listener_ids = frozenset(x.listener_id for x in image.listeners.values())
        self.users: dict[PoolRef, tuple[int, ...]] = {}
        self.present: dict[Address, tuple[Endpoint, ...]] = {}
        self.of_listener: dict[int, tuple[int, ...]] = {}
        self.retired: set[int] = set()
        self.top = max(image.backends, default=BACKEND_FIRST - 1) + 1
        self.spare = [x for x in range(BACKEND_FIRST, self.top) if _is_spare(image.backends.get(x))]
        self._image: MapImage | None = image
        for position, listener in enumerate(plan.listeners):
            self._use(position, listener)
        for found in endpoints.values():
            self._add(found)
        for number, entry in image.backends.items():
            if entry.state is not BackendState.FREE:
                self._belongs(entry, number)
                if entry.state is not BackendState.ACTIVE:
                    self.retired.add(number)

    def of(self, image: MapImage) -> bool:
        """Whether it is this image's."""
        return self._image is image

    def move(self, image: MapImage | None) -> None:
        """To `image`; to nobody, while it is being changed."""
        self._image = image

    def set_plan(self, plan: Plan, changed: Iterable[int]) -> None:
        """Another plan, whose listeners differ at the `changed` positions."""
        for position in changed:
            for pool in _pools(self.plan.listeners[position]):
                self.users[pool] = tuple(x for x in self.users[pool] if x != position)
            self._use(position, plan.listeners[position])
        self.plan = plan

    def set_endpoints(self, endpoints: Mapping[PoolRef, tuple[Endpoint, ...]], changed: Iterable[PoolRef]) -> None:
        """Other endpoints, which differ in the `changed` pools."""
        for pool in changed:
            for x in self.endpoints.get(pool, ()):
                left = list(self.present.pop(x.address))
                left.remove(x)
                if left:
                    self.present[x.address] = tuple(left)
            self._add(endpoints.get(pool, ()))
        self.endpoints = endpoints

    def set_backend(self, number: int, before: BackendEntry | None, entry: BackendEntry) -> None:
        """Another entry of a backend id."""
        if before is not None and before.state is not BackendState.FREE:
            left = tuple(x for x in self.of_listener[before.listener_id] if x != number)
            self.of_listener[before.listener_id] = left
        if entry.state is not BackendState.FREE:
            self._belongs(entry, number)
        if entry.state in (BackendState.FREE, BackendState.ACTIVE):
            self.retired.discard(number)
        else:
            self.retired.add(number)
        self._set_spare(number, entry)

    def _belongs(self, entry: BackendEntry, number: int) -> None:
        self.of_listener[entry.listener_id] = (*self.of_listener.get(entry.listener_id, ()), number)

    def _set_spare(self, number: int, entry: BackendEntry) -> None:
        while self.top <= number:
            self.spare.append(self.top)
            self.top += 1
        at = bisect_left(self.spare, number)
        listed = at < len(self.spare) and self.spare[at] == number
        if listed and not _is_spare(entry):
            del self.spare[at]
        elif _is_spare(entry) and not listed:
            insort(self.spare, number)

    def _use(self, position: int, listener: Listener) -> None:
        for pool in _pools(listener):
            self.users[pool] = (*self.users.get(pool, ()), position)

    def _add(self, found: Iterable[Endpoint]) -> None:
        for x in found:
            self.present[x.address] = (*self.present.get(x.address, ()), x)


def retired(image: MapImage) -> Mapping[int, BackendEntry]:
    """The backends of an image that are neither ACTIVE nor FREE."""
    index: Index | None = image.index
    if index is not None and index.of(image):
        return {x: image.backends[x] for x in index.retired}
    neither = (BackendState.ACTIVE, BackendState.FREE)
    return {x: entry for x, entry in image.backends.items() if entry.state not in neither}


def backends_of(image: MapImage, listeners: Collection[int]) -> Mapping[int, Mapping[int, BackendEntry]]:
    """listener_id -> its backends that are not FREE, for these listeners."""
    index: Index | None = image.index
    if index is not None and index.of(image):
        return {x: {i: image.backends[i] for i in index.of_listener.get(x, ())} for x in listeners}
    found: dict[int, dict[int, BackendEntry]] = {x: {} for x in listeners}
    for number, entry in image.backends.items():
        if entry.state is not BackendState.FREE and entry.listener_id in found:
            found[entry.listener_id][number] = entry
    return found


def _is_spare(entry: BackendEntry | None) -> bool:
    return entry is None or entry.state in REUSABLE


def _pools(listener: Listener) -> Iterable[PoolRef]:
    return {x.pool for x in listener.backends if x.pool is not None}
