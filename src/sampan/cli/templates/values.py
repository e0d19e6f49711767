"""What templates look into: JSON that knows which of its objects are Go's structs and which are maps.

In Docker's types a field that does not exist is an error, a key that a map does not have is ``<no value>``, and a list
or a map that is not there still prints as an empty one. JSON alone does not tell these apart; names do.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any


class Record(dict):  # type: ignore[type-arg]
    """A struct: the fields that it has are all there are."""


class Map(dict):  # type: ignore[type-arg]
    """A map; ``zero`` is what the function ``index`` gives for a key that it does not have."""

    zero: Any = ""


class Absent:
    """A value that is not there, of a type that prints as ``shown``; "[]" and "map[]" are an empty list and map."""

    __slots__ = ("shown",)

    def __init__(self, shown: str) -> None:
        self.shown = shown


NO_VALUE = Absent("<no value>")
NIL = Absent("<nil>")
_NO_LIST = Absent("[]")
_NO_MAP = Absent("map[]")

_MAPS: dict[str, Any] = {
    "Annotations": "",
    "Data": "",
    "DriverOpts": "",
    "ExposedPorts": Record(),
    "Labels": "",
    "Networks": NIL,
    "Options": "",
    "PortBindings": _NO_LIST,
    "Ports": _NO_LIST,
    "Sysctls": "",
    "Tmpfs": "",
    "Volumes": Record(),
}
"""Fields of the Engine API's types that are maps, and what such a map gives for a key that it does not have."""
_LISTS = frozenset(
    "Args Binds CapAdd CapDrop Cmd Containers Devices Dns DnsOptions DnsSearch Entrypoint Env ExecIDs ExtraHosts "
    "GroupAdd Images Layers Links MaskedPaths Mounts OnBuild ReadonlyPaths RepoDigests RepoTags SecurityOpt Shell "
    "Ulimits VolumesFrom Warnings".split()
)
OPTIONAL: dict[str, Any] = {
    **dict.fromkeys(("Health", "Healthcheck", "SizeRootFs", "SizeRw"), NIL),
    **dict.fromkeys(("Author", "Comment", "Driver", "Name", "Variant"), ""),
}
"""Fields that JSON leaves out where there is nothing to say, and what they are then."""


def typed(value: Any, name: str = "", above: str = "") -> Any:
    """``value`` (JSON) with its objects told apart by the ``name`` of the field that holds them."""
    is_map = name in _MAPS or (above == "LogConfig" and name == "Config")
    if value is None:
        return _NO_MAP if is_map else _NO_LIST if name in _LISTS else NIL
    if isinstance(value, dict):
        return _map(value, _MAPS.get(name, "")) if is_map else _record(value, name)
    if isinstance(value, list | tuple):
        return [typed(item) for item in value]
    return value


def _record(value: dict[str, Any], above: str) -> Record:
    return Record((key, typed(item, key, above)) for key, item in value.items())


def _map(value: dict[str, Any], zero: Any) -> Map:
    made = Map((key, zero if item is None else typed(item)) for key, item in value.items())
    made.zero = zero
    return made


class Row:
    """A line of a listing: fields that are worked out when they are asked for. One that is a function is a method."""

    __slots__ = ("_columns", "_item")

    def __init__(self, columns: Mapping[str, tuple[str, Callable[[Any], Any]]], item: Any) -> None:
        self._columns = columns
        self._item = item

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> Any:
        return self._columns[name][1](self._item)

    def names(self) -> Iterable[str]:
        return self._columns.keys()


def plain(value: Any) -> Any:
    """``value`` as JSON knows it; a map's keys are sorted, as Go writes them."""
    if isinstance(value, Row):
        found = {name: value[name] for name in sorted(value.names())}
        return {name: plain(item) for name, item in found.items() if not callable(item)}
    if isinstance(value, Absent):
        return None
    if isinstance(value, Record):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in sorted(value.items())}
    return [plain(item) for item in value] if isinstance(value, list) else value
