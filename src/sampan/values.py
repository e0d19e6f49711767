"""``NamedTuple`` for what is loaded at every container's start: ``typing`` would bring ``re`` and a dozen modules more.

    TYPE_CHECKING = False
    if TYPE_CHECKING:
        from typing import NamedTuple
    else:
        from sampan.values import NamedTuple

Type checkers see typing's own. Modules that do so begin with ``from __future__ import annotations``, for no name of
``typing`` exists in them at run time.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_OWN = frozenset(("__annotations__", "__module__", "__qualname__", "__doc__", "__orig_bases__"))


class _Meta(type):
    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, object]) -> type:
        if not bases:
            return type.__new__(cls, name, bases, namespace)
        fields: list[str] = list(namespace.get("__annotations__", ()))  # type: ignore[call-overload]
        defaults = [namespace[field] for field in fields if field in namespace]
        made = namedtuple(name, fields, defaults=defaults, module=str(namespace["__module__"]))  # type: ignore[misc]
        made.__doc__ = str(namespace.get("__doc__") or made.__doc__)
        for key, value in namespace.items():
            if key not in _OWN and key not in fields:
                setattr(made, key, value)
        return made


class cached_property:
    """As ``functools.cached_property``: computed once, and kept in the instance's ``__dict__``."""

    def __init__(self, compute: Callable[[object], object]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __get__(self, instance: object, owner: type) -> object:
        if instance is None:
            return self
        value = instance.__dict__[self._compute.__name__] = self._compute(instance)
        return value


class NamedTuple(metaclass=_Meta):
    """As ``typing.NamedTuple``: fields with defaults, methods and properties."""
