"""``sampan images``: what the store holds, a line for each name."""

from sampan.cli import output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid, Unsupported
from sampan.oci import reference as references
from sampan.store.images import Image, Name

COMMAND = Command(
    "[OPTIONS] [REPOSITORY[:TAG]]",
    (
        Flag("-a, --all", "Show all images (there are no intermediate ones to hide)"),
        Flag("--digests", "Show digests"),
        Flag("-f, --filter filter", "Filter output: dangling=true|false, reference=PATTERN", repeat=True),
        Flag("--format string", "Format the output: json"),
        Flag("--no-trunc", "Don't truncate output"),
        Flag("-q, --quiet", "Only show image IDs"),
    ),
    most=1,
    examples=(
        ("sampan images", "All images, the newest first"),
        ("sampan images python", "Those of one repository"),
        ("sampan images -q --filter dangling=true", "The IDs of those without a name"),
    ),
)
_NONE = "<none>"
_GLOB = frozenset("*?[")


def main(arguments: Parsed, context: Context) -> int:
    patterns, dangling = _filters(arguments)
    store = context.engine.images
    named: dict[str, list[Name]] = {}
    for name in store.names():
        named.setdefault(name.image_id, []).append(name)
    rows: list[tuple[Image, Name | None]] = []
    for image in store.all():
        names = named.get(image.id)
        if names and dangling is not True:
            rows += [(image, name) for name in names if all(_matches(name, pattern) for pattern in patterns)]
        elif not names and dangling is not False and not patterns:
            rows.append((image, None))
    _show(rows, arguments, context)
    return 0


def _filters(arguments: Parsed) -> tuple[list[str], bool | None]:
    patterns, dangling = [_pattern(text) for text in arguments.positionals], None
    for text in arguments.texts("filter"):
        key, equals, value = text.partition("=")
        if not equals:
            raise Invalid(f"invalid filter {text!r}", hint="write it as NAME=VALUE")
        if key == "reference":
            patterns.append(_pattern(value))
        elif key == "dangling" and value in ("true", "1", "false", "0"):
            dangling = value in ("true", "1")
        elif key == "dangling":
            raise Invalid(f"invalid filter {text!r}: it is true or false")
        else:
            raise Unsupported(f"the filter {key!r} is not built yet", hint="dangling and reference are")
    return patterns, dangling


def _pattern(text: str) -> str:
    """``text`` in its familiar form, unless it is a pattern as for file names. Raises Invalid."""
    return text if _GLOB.intersection(text) else references.parse(text).familiar()


def _matches(name: Name, pattern: str) -> bool:
    """Whether ``pattern`` is or matches the whole name or its repository; ``*`` does not reach across ``/``."""
    familiar = (name.reference.familiar(), name.reference.familiar_name)
    if not _GLOB.intersection(pattern):
        return pattern in familiar
    from fnmatch import fnmatchcase

    return any(text.count("/") == pattern.count("/") and fnmatchcase(text, pattern) for text in familiar)


def _show(rows: list[tuple[Image, Name | None]], arguments: Parsed, context: Context) -> None:
    whole, digests = arguments.on("no-trunc"), arguments.on("digests")
    template = arguments.text("format")
    if template is not None:
        for image, name in rows:
            context.print(output.formatted(_fields(image, name, whole=whole), template))
    elif arguments.on("quiet"):
        for image, _ in rows:
            context.print(image.id if whole else image.id.short)
    else:
        columns = ["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"]
        titles = {"ID": "IMAGE ID", "CreatedSince": "CREATED"}
        chosen = [column for column in columns if digests or column != "Digest"]
        lines = [[_fields(image, name, whole=whole)[column] for column in chosen] for image, name in rows]
        context.print(output.table([titles.get(column, column.upper()) for column in chosen], lines))


def _fields(image: Image, name: Name | None, *, whole: bool) -> dict[str, str]:
    """One line, with the names that Docker's templates have for its parts."""
    return {
        "Repository": name.reference.familiar_name if name else _NONE,
        "Tag": (name.reference.tag or _NONE) if name else _NONE,
        "Digest": name.target.digest if name else _NONE,
        "ID": image.id if whole else image.id.short,
        "CreatedAt": image.created,
        "CreatedSince": output.ago(image.created),
        "Size": output.size(image.size),
    }
