"""``--filter NAME=VALUE`` (Engine API): values of one name are alternatives, but for labels; names add up."""

from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Filters = dict[str, list[str]]

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def parse(texts: "Iterable[str]", known: "Iterable[str]") -> "Filters":
    """The values by their names. Raises Invalid for a name that is not ``known``."""
    found: Filters = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().lower()
        if not equals or (name not in known and not (name == "label!" and "label" in known)):
            raise Invalid(
                f"invalid filter {text!r}", hint=f"write it as NAME=VALUE; NAME is {', '.join(sorted(known))}"
            )
        found.setdefault(name, []).append(value.strip())
    return found


def boolean(filters: "Filters", name: str) -> bool | None:
    """The value of a filter that is true or false; None if it was not given. Raises Invalid."""
    values = filters.get(name)
    if not values:
        return None
    if values[-1].lower() not in _BOOLEANS:
        raise Invalid(f"invalid filter '{name}={values[-1]}': it is true or false")
    return _BOOLEANS[values[-1].lower()]


def labels_match(filters: "Filters", labels: "Mapping[str, str]") -> bool:
    """Whether all ``label`` filters hold, and none of ``label!``."""
    wanted, unwanted = filters.get("label", ()), filters.get("label!", ())
    return all(_has(text, labels) for text in wanted) and not any(_has(text, labels) for text in unwanted)


def _has(text: str, labels: "Mapping[str, str]") -> bool:
    key, equals, value = text.partition("=")
    return key in labels and (not equals or labels[key] == value)
