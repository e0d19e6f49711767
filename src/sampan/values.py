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

from _collections import _tuplegetter  # what namedtuple reads its fields with; the rest of collections takes 1 ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Self


class _Values(tuple):  # type: ignore[type-arg]
    """What all named tuples have (collections.namedtuple)."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()
    _field_defaults: dict[str, Any] = {}  # noqa: RUF012

    def __new__(cls, *values: object, **named: object) -> Self:
        if named or len(values) != len(cls._fields):
            values = cls._complete(values, named)
        return tuple.__new__(cls, values)

    @classmethod
    def _complete(cls, values: tuple[object, ...], named: dict[str, object]) -> tuple[object, ...]:
        rest = cls._fields[len(values) :]
        unknown = named.keys() - set(rest)
        if unknown or len(values) > len(cls._fields):
            raise TypeError(f"{cls.__name__}: {', '.join(unknown) or 'a value'} is given twice, or is one too many")
        given = {**cls._field_defaults, **named}
        missing = [field for field in rest if field not in given]
        if missing:
            raise TypeError(f"{cls.__name__}: {', '.join(missing)} is missing")
        return values + tuple(given[field] for field in rest)

    @classmethod
    def _make(cls, values: Iterable[object]) -> Self:
        return cls(*values)

    def _replace(self, **named: object) -> Self:
        unknown = named.keys() - set(self._fields)
        if unknown:
            raise ValueError(f"{type(self).__name__} has no {', '.join(unknown)}")
        return tuple.__new__(
            type(self), [named.get(field, value) for field, value in zip(self._fields, self, strict=True)]
        )

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{field}={value!r}' for field, value in self._asdict().items())})"

    def __getnewargs__(self) -> tuple[object, ...]:
        return tuple(self)


class _Meta(type):
    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
        if not bases:
            return type.__new__(cls, name, bases, namespace)
        fields = tuple(namespace.get("__annotations__", ()))
        made = {key: value for key, value in namespace.items() if key not in fields}
        made |= {field: _tuplegetter(number, "") for number, field in enumerate(fields)}
        made["_field_defaults"] = {field: namespace[field] for field in fields if field in namespace}
        made["_fields"] = made["__match_args__"] = fields
        made["__slots__"] = ()
        return type(name, (_Values,), made)


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
