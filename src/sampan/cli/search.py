"""``sampan search``: repositories of a registry."""

from sampan.cli import listing, output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid
from sampan.store import filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.cli.listing import Columns
    from sampan.store.filters import Filters

COMMAND = Command(
    "[OPTIONS] [REGISTRY/]TERM",
    (
        Flag("-f, --filter filter", "Only those that fit: stars=3, is-official=true", repeat=True),
        Flag("--format string", listing.FORMAT),
        Flag("--limit int", "Max number of search results (default 25)"),
        Flag("--no-trunc", "Don't truncate output"),
    ),
    least=1,
    most=1,
    details="Asks Docker Hub, or the registry that the term begins with. Not every registry answers.",
    examples=(("sampan search lab.example:5000/python", "What a registry of one's own has"),),
)

_HUB_SEARCH = "index.docker.io"
_MOST = 100
_SHOWN = 45


def main(arguments: Parsed, context: Context) -> int:
    from sampan import settings as settled
    from sampan.cli import registries

    registry, term = _split(arguments.positionals[0])
    limit = arguments.number("limit")
    limit = 25 if limit is None else limit
    if not 1 <= limit <= _MOST:
        raise Invalid(f"--limit takes a number from 1 to {_MOST}, not {limit}")
    chosen = filters.parse(arguments.texts("filter"), ("is-automated", "is-official", "stars"))
    with registries.connect(registry, settled.read()) as client:
        found = [each for each in client.search(term, limit) if _fits(each, chosen)]
    columns = _columns(whole=arguments.on("no-trunc"))
    listing.show(context, found, columns, ("Name", "Description", "StarCount", "IsOfficial"), arguments.text("format"))
    return 0


def _split(text: str) -> tuple[str, str]:
    """The registry that is asked, and what for."""
    first, slash, rest = text.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        if first in ("docker.io", _HUB_SEARCH):
            return _HUB_SEARCH, rest
        return first, rest
    if "://" in text or not text.strip():
        raise Invalid(f"{text!r} is nothing to search for", hint="write it as TERM or HOST[:PORT]/TERM")
    return _HUB_SEARCH, text


def _fits(each: "dict[str, Any]", chosen: "Filters") -> bool:
    for key, field in (("is-official", "is_official"), ("is-automated", "is_automated")):
        wanted = filters.boolean(chosen, key)
        if wanted is not None and bool(each.get(field)) is not wanted:
            return False
    for text in chosen.get("stars", ()):
        if not text.isdecimal():
            raise Invalid(f"the filter stars takes a number, not {text!r}")
        if _stars(each) < int(text):
            return False
    return True


def _stars(each: "dict[str, Any]") -> int:
    stars = each.get("star_count")
    return stars if isinstance(stars, int) else 0


def _columns(*, whole: bool) -> "Columns":
    def description(each: "dict[str, Any]") -> str:
        text = " ".join(output.printable(str(each.get("description") or "")).split())
        return text if whole else output.shorten(text, _SHOWN)

    return {
        "Name": ("NAME", lambda each: output.printable(str(each.get("name") or ""))),
        "Description": ("DESCRIPTION", description),
        "StarCount": ("STARS", lambda each: str(_stars(each))),
        "IsOfficial": ("OFFICIAL", lambda each: "[OK]" if each.get("is_official") else ""),
        "IsAutomated": ("AUTOMATED", lambda each: "[OK]" if each.get("is_automated") else ""),
    }
