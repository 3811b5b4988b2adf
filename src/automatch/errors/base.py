"""The root of every error that Auto-Match raises."""

from __future__ import annotations

from typing import ClassVar


class AutomatchError(Exception):
    """Base class: catch this to catch everything Auto-Match raises.

    The class docstring of a subclass without arguments doubles as its message.
    """

    code: ClassVar[str] = "internal"
    transient: ClassVar[bool] = False
    """Whether the same work may succeed later without anyone acting."""

    def __init__(self, message: str | None = None, *, case: str = "", **values: object) -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        self.case = case
        """Which of several things an error of this code says; pages have a sentence for each."""
        self.values = values
        """What the sentence says of the moment: numbers, names."""

    @property
    def message(self) -> str:
        return str(self.args[0])

    @classmethod
    def codes(cls) -> frozenset[str]:
        """Return its code and those of all errors below it."""
        return frozenset({cls.code}).union(*(kind.codes() for kind in cls.__subclasses__()))
