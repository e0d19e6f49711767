"""Which containers a ``--filter`` leaves (Engine API, ContainerList; moby daemon/list.go)."""

from sampan.errors import Invalid, NotFound
from sampan.store import filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sampan.containers.record import Container
    from sampan.containers.state import State
    from sampan.store.filters import Filters

    Known = tuple[Container, State]
    Test = Callable[[Container, State, str], bool]

STATUSES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
HEALTH = ("starting", "healthy", "unhealthy", "none")
_PATTERN = frozenset(".^$*+?()[]{}|\\")


def parse(texts: "Sequence[str]") -> "Filters":
    """Raises Invalid for unknown filters, and for values that a filter cannot have."""
    chosen = filters.parse(texts, ("label", "before", "since", *_TESTS))
    for value in chosen.get("status", ()):
        if value not in STATUSES:
            raise Invalid(f"invalid filter 'status={value}'", hint=f"a status is {', '.join(STATUSES)}")
    for value in chosen.get("health", ()):
        if value not in HEALTH:
            raise Invalid(f"invalid filter 'health={value}'", hint=f"health is {', '.join(HEALTH)}")
    for value in chosen.get("exited", ()):
        if not value.lstrip("-").isdigit():
            raise Invalid(f"invalid filter 'exited={value}': it is no exit code")
    for name in ("publish", "expose"):
        for value in chosen.get(name, ()):
            _port_range(value, name)
    return chosen


def select(
    known: "Sequence[Known]", chosen: "Filters", labels: "Callable[[Container], Mapping[str, str]]"
) -> "list[Known]":
    """Those of ``known`` (all containers, the newest first) that the filters leave, in the same order.

    Raises NotFound when ``before`` or ``since`` name a container that there is not.
    """
    left = list(known)
    for value in chosen.get("before", ()):
        left = left[_place(left, value) + 1 :]
    for value in chosen.get("since", ()):
        left = left[: _place(left, value)]
    for name, values in chosen.items():
        if name in _TESTS:
            test = _TESTS[name]
            left = [each for each in left if any(test(*each, value) for value in values)]
    if "label" in chosen or "label!" in chosen:
        left = [each for each in left if filters.labels_match(chosen, labels(each[0]))]
    return left


def _place(known: "Sequence[Known]", name: str) -> int:
    for place, (container, _) in enumerate(known):
        if name in (container.name, container.id) or (len(name) > 3 and container.id.startswith(name)):
            return place
    raise NotFound(f"no such container: {name}")


def _named(container: "Container", state: "State", value: str) -> bool:
    return _found(value, container.name) or _found(value, f"/{container.name}")


def _identified(container: "Container", state: "State", value: str) -> bool:
    return container.id.startswith(value) or _found(value, container.id)


def _found(pattern: str, text: str) -> bool:
    """Whether a regular expression is found in ``text``. Raises Invalid for what is none."""
    if not _PATTERN.intersection(pattern):
        return pattern in text
    import re

    try:
        return re.search(pattern, text) is not None
    except re.error as error:
        raise Invalid(f"invalid filter {pattern!r}: {error}") from None


def _descends(container: "Container", state: "State", value: str) -> bool:
    names = (container.image_name, container.image_name.removesuffix(":latest"), container.image_id)
    bare = value.removeprefix("sha256:")
    if value.removesuffix(":latest") in names or value in names:
        return True
    return len(bare) >= 4 and container.image_id.startswith(f"sha256:{bare}")


def _exited(container: "Container", state: "State", value: str) -> bool:
    return state.status == "exited" and state.exit_code == int(value)


def _mounted(container: "Container", state: "State", value: str) -> bool:
    return any(value in (mount.source, mount.target) for mount in container.options.mounts)


def _published(container: "Container", state: "State", value: str) -> bool:
    ports, protocol = _port_range(value, "publish")
    return any(port[1] in ports and port[3] == protocol for port in state.ports)


def _exposed(container: "Container", state: "State", value: str) -> bool:
    ports, protocol = _port_range(value, "expose")
    return any(port[2] in ports and port[3] == protocol for port in state.ports)


def _port_range(value: str, name: str) -> tuple[range, str]:
    numbers, _, protocol = value.partition("/")
    first, dash, last = numbers.partition("-")
    if not all(number.isdigit() and int(number) < 65536 for number in (first, last or "0" if not dash else last)):
        raise Invalid(f"invalid filter '{name}={value}'", hint="a port or a range of them: 80, 8000-8080/tcp")
    return range(int(first), int(last or first) + 1), protocol or "tcp"


def _networks(container: "Container") -> set[str]:
    options = container.options
    return {options.network, *(joining.network for joining in options.networks)}


_TESTS: "dict[str, Test]" = {
    "name": _named,
    "id": _identified,
    "status": lambda container, state, value: state.word == value,
    "ancestor": _descends,
    "exited": _exited,
    "network": lambda container, state, value: value in _networks(container),
    "volume": _mounted,
    "publish": _published,
    "expose": _exposed,
    "health": lambda container, state, value: (state.health or "none") == value,
}
