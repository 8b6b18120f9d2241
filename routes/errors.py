"""The one error of this package: an object that the API server would have refused, or that is not what its kind says.

Rules: an error names the object (kind, namespace/name) and the field (`spec.listeners[0].port`), so that a person
finds the line. Must never be raised for an object that is well formed but cannot be served: that is a status.
"""

from __future__ import annotations


class InvalidObject(Exception):
    """An object broke a rule of its schema.

    `kind` and `name` are as far as they could be read ("?" where not); `name` is `namespace/name`, or `name` alone for
    kinds without a namespace. `field` is the path from the object's root, "" when the object as a whole is wrong.
    """

    def __init__(self, kind: str, name: str, field: str, problem: str) -> None:
        super().__init__(kind, name, field, problem)
        self.kind = kind
        self.name = name
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        place = f"{self.field}: " if self.field else ""
        return f"{self.kind} {self.name}: {place}{self.problem}"
