"""The one error of this package: something other than the tests went wrong, said in words for the person who waits."""


class VmError(Exception):
    """No verdict about the tests was reached. The message says what happened and, where known, what to do."""
