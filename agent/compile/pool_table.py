"""The pools of an image, filled when somebody looks.

Decides when slots are computed: as late as possible, and not kept, for the pools of ten thousand listeners are 160 MB.
Rules: to its readers a mapping pool_id -> slots, as any other; pools with equal recipes are equal. What was filled once
is known by its hash from then on, so that a pool read from the kernel can be compared without filling it again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from agent.compile.image import POOL_SLOTS, Recipe

_UNUSED = bytes(4 * POOL_SLOTS)  # no pool: there is no backend 0


class PoolTable(Mapping[int, bytes]):
    """`recipes` must not change any more."""

    __slots__ = ("_hashes", "recipes")

    def __init__(self, recipes: Mapping[int, Recipe], hashes: dict[int, int] | None = None) -> None:
        self.recipes = recipes
        self._hashes = {} if hashes is None else hashes

    def after(self, recipes: Mapping[int, Recipe], changed: Collection[int] | None = None) -> PoolTable:
        """The table of other recipes, of which those of the `changed` ids may differ (None: any)."""
        if changed is None:
            known = {x: found for x, found in self._hashes.items() if recipes.get(x) == self.recipes.get(x)}
        else:
            known = dict(self._hashes)
            for number in changed:
                known.pop(number, None)
        return PoolTable(recipes, known)

    def only(self, numbers: Iterable[int]) -> PoolTable:
        """The table of these pools, which knows what this one knows."""
        return PoolTable({x: self.recipes[x] for x in numbers}, self._hashes)

    def holds(self, number: int, octets: bytes) -> bool:
        """Whether the slots of a pool are these."""
        if octets == _UNUSED:
            return False
        known = self._hashes.get(number)
        return self[number] == octets if known is None else known == hash(octets)

    def __getitem__(self, number: int) -> bytes:
        from agent.compile.fill import slots  # noqa: PLC0415 - it says why

        octets = slots(self.recipes[number])
        self._hashes[number] = hash(octets)
        return octets

    def __iter__(self) -> Iterator[int]:
        return iter(self.recipes)

    def __len__(self) -> int:
        return len(self.recipes)

    def __contains__(self, number: object) -> bool:
        return number in self.recipes

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PoolTable):
            return self.recipes == other.recipes
        return Mapping.__eq__(self, other)

    __hash__ = None  # type: ignore[assignment]
