"""``sampan cache``: what builds remember, looked at, carried to other machines, and freed."""

import os
import time

from sampan.build import prune
from sampan.cli import listing, output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sampan.build.endpoints import Endpoint
    from sampan.build.exchange import Source
    from sampan.build.portable import Contents
    from sampan.build.prune import Remembered
    from sampan.cli.listing import Columns
    from sampan.engine import Engine

_PLACES = (
    "A path that ends in .tar is an archive; ./DIR, or any directory that is there, an OCI image layout; REGISTRY/NAME "
    "a repository. The blobs are named by their digests, so what did not change is not written or sent again."
)
EXPORT = Command(
    "[OPTIONS] DIR | ARCHIVE.tar | REFERENCE",
    (Flag("--mounts", "Take what cache mounts hold along", True),),
    least=1,
    most=1,
    needs_userns=True,
    runs_nothing=True,
    details=_PLACES,
    examples=(
        ("sampan cache export ./build-cache", "For a CI that keeps a directory"),
        ("sampan cache export registry.example.com/app/cache:main", "For one that keeps nothing"),
    ),
)
IMPORT = Command(
    "[OPTIONS] DIR | ARCHIVE.tar | REFERENCE",
    (Flag("--mounts", "Take what cache mounts hold along", True),),
    least=1,
    most=1,
    needs_userns=True,
    runs_nothing=True,
    details=f"What is here already stays as it is. {_PLACES}",
    examples=(("sampan cache import ./build-cache", "The next build finds its steps done"),),
)
_FILTER = "Filter: until=TIME, type=regular|exec.cachemount|source.http, id=ID"
LS = Command(
    "[OPTIONS]",
    (
        Flag("-f, --filter filter", _FILTER, repeat=True),
        Flag("--format string", listing.FORMAT),
        Flag("-q, --quiet", "Only show IDs"),
        Flag("--no-trunc", "Don't truncate output"),
    ),
    details="RECLAIMABLE is false for what an image or a container stands on as well: removing it frees nothing.",
    examples=(("sampan cache ls", "Steps and cache mounts, what was used last first"),),
)
PRUNE = Command(
    "[OPTIONS]",
    (
        Flag("-a, --all", "Remove all unused build cache, not just dangling ones"),
        Flag("-f, --force", "Do not prompt for confirmation"),
        Flag("--filter filter", _FILTER, repeat=True),
        Flag("--keep-storage bytes", "Amount of disk space to keep for cache (e.g., 10GB), what was used last first"),
    ),
    needs_userns=True,
    runs_nothing=True,
    details="What an image or a container stands on is kept, unless -a is given. Disk space is free at once, or when "
    "the builds that run now have ended. Cache mounts that a step uses stay.",
    examples=(
        ("sampan cache prune -f --keep-storage 10GB", "Keep what was used last, up to ten gigabytes"),
        ("sampan cache prune -f --filter until=240h", "Remove what was not used for ten days"),
    ),
)
_COLUMNS: "Columns" = {
    "ID": ("ID", lambda each: each.identifier),
    "Type": ("TYPE", lambda each: each.kind),
    "Size": ("SIZE", lambda each: output.size(each.size)),
    "Reclaimable": ("RECLAIMABLE", lambda each: str(not each.shared).lower()),
    "Shared": ("SHARED", lambda each: str(each.shared).lower()),
    "CreatedAt": ("CREATED AT", lambda each: each.created),
    "LastUsedAt": ("LAST ACCESSED", lambda each: str(int(each.used))),
    "LastUsedSince": ("LAST ACCESSED", lambda each: f"{output.duration(max(0.0, time.time() - each.used))} ago"),
    "Description": ("DESCRIPTION", lambda each: output.shorten(" ".join(each.about.split()), 60)),
}
_WHOLE: "Columns" = {"ID": ("ID", lambda each: each.name), "Description": ("DESCRIPTION", lambda each: each.about)}
_SHOWN = ("ID", "Type", "Reclaimable", "Size", "LastUsedSince", "Description")


def ls(arguments: Parsed, context: Context) -> int:
    engine = context.engine
    found = _filtered(prune.remembered(engine.database, engine.paths.caches), arguments.texts("filter"))
    whole = arguments.on("no-trunc")
    if not listing.identifiers(arguments, context, [each.name if whole else each.identifier for each in found]):
        columns = {**_COLUMNS, **_WHOLE} if whole else _COLUMNS
        listing.show(context, found, columns, _SHOWN, arguments.text("format"))
    return 0


def prune_(arguments: Parsed, context: Context) -> int:
    from sampan.cli.question import agreed

    engine, everything, keep = context.engine, arguments.on("all"), arguments.text("keep-storage")
    allowance = 0 if keep is None else _bytes(keep)
    candidates = _filtered(prune.remembered(engine.database, engine.paths.caches), arguments.texts("filter"))
    if not agreed(f"This will remove all {'' if everything else 'dangling '}build cache.", force=arguments.on("force")):
        return 0
    unwanted = prune.chosen(candidates, shared=everything, keep=allowance)
    removed = prune.forget(unwanted, engine.database, engine.paths.caches)
    prune.forget_files(engine.database, everything=everything and not arguments.texts("filter") and keep is None)
    at_once = engine.collect() is not None
    if removed:
        context.say("Deleted build cache objects:")
        for each in removed:
            context.say(each.identifier)
        context.say()
    context.say(f"Total reclaimed space: {output.size(sum(each.size for each in removed if not each.shared))}")
    if not at_once:
        context.warn("other operations are under way: layers are freed by the next prune after they have ended")
    return 0


def _filtered(found: "list[Remembered]", texts: list[str]) -> "list[Remembered]":
    from sampan.store import filters, moments

    given = filters.parse(texts, ("id", "type", "until", "unused-for"))
    before = [moments.parse(text) for name in ("until", "unused-for") for text in given.get(name, ())]
    kinds, names = given.get("type"), given.get("id")
    for kind in kinds or ():
        if kind not in prune.KINDS:
            raise Invalid(f"invalid filter 'type={kind}'", hint=f"one of {', '.join(prune.KINDS)}")
    return [
        each
        for each in found
        if all(each.used < moment for moment in before)
        and (not kinds or each.kind in kinds)
        and (not names or each.name.removeprefix("sha256:").startswith(tuple(names)))
    ]


def export(arguments: Parsed, context: Context) -> int:
    from sampan.build import cachemounts, exchange
    from sampan.build.cache import Cache
    from sampan.build.portable import Contents

    engine, (place,) = context.engine, arguments.positionals
    archive, endpoint = _place(place)
    with engine.storing():
        entries = Cache(engine.database, engine.blobs, engine.snapshots).entries()
        kept = []
        if arguments.on("mounts"):
            kept = cachemounts.keep(engine.paths.caches, engine.blobs, userxattr=engine.rootless)
        contents = Contents(tuple(entries), tuple(kept))
        if not entries and not kept:
            raise NotFound("there is no build cache to export", hint="sampan build makes one")
        if archive:
            _write_archive(contents, place, engine)
        else:
            exchange.send(contents, endpoint, engine.blobs)
    engine.collect()  # what cache mounts hold was packed for this alone
    context.say(f"exported {_count(contents)} to {place}")
    return 0


def import_(arguments: Parsed, context: Context) -> int:
    from sampan.build import cachemounts
    from sampan.build.cache import Cache

    engine, (place,) = context.engine, arguments.positionals
    with engine.storing(), _opened(place, engine) as (contents, source):
        source.fetch([entry.built.layer.descriptor for entry in contents.entries])
        adopted = Cache(engine.database, engine.blobs, engine.snapshots).adopt(contents.entries)
        kept = contents.kept if arguments.on("mounts") else ()
        source.fetch([each.layer.descriptor for each in kept])
        back = sum(
            cachemounts.put_back(each, engine.paths.caches, engine.blobs, rootless=engine.rootless) for each in kept
        )
    engine.collect()
    new = f"{_some(adopted, 'step')} and {_some(back, 'cache mount')} are new"
    context.say(f"imported {_count(contents)} from {place}, of which {new}")
    return 0


def _place(text: str) -> "tuple[bool, Endpoint]":
    """Whether it is an archive, and else which directory or repository it is."""
    from sampan.build.endpoints import Endpoint

    if os.path.isdir(text) or (text.startswith((".", "/", "~")) and not text.endswith(".tar")):
        return False, Endpoint("local", os.path.expanduser(text))
    if text.endswith(".tar") or os.path.isfile(text):
        return True, Endpoint("local", text)
    if "/" in text:
        return False, Endpoint("registry", text)
    raise Invalid(f"{text} is neither a path nor REGISTRY/NAME", hint=f"a directory here is written ./{text}")


def _write_archive(contents: "Contents", path: str, engine: "Engine") -> None:
    from sampan.archives.places import Offer
    from sampan.archives.write import write
    from sampan.build import exchange
    from sampan.build.endpoints import DEFAULT_TAG
    from sampan.cli.save import output

    offer = Offer(exchange.put(contents, engine.blobs), (DEFAULT_TAG,))
    with output(path) as sink:
        write([offer], engine.blobs, sink, for_docker=False)


def _opened(text: str, engine: "Engine") -> "AbstractContextManager[Source]":
    from contextlib import nullcontext

    from sampan.archives.archive import Archive
    from sampan.build import exchange

    archive, endpoint = _place(text)
    if not archive:
        return exchange.opened(endpoint, engine.blobs)
    try:
        with open(text, "rb", buffering=0) as file:
            place = Archive(file, engine.blobs)
    except FileNotFoundError:
        raise NotFound(f"there is no archive {text}") from None
    return nullcontext(exchange.Source(exchange.contents_of(place, engine.blobs), place))


def _bytes(text: str) -> int:
    """``10GB``, ``512MiB``, ``1073741824``: Raises Invalid."""
    import re

    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([kmgt]?)(i?)b?", text.strip().lower())
    if not found:
        raise Invalid(f"invalid size {text!r}", hint="write it as 10GB, 512MiB or a number of bytes")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit or " "))


def _count(contents: "Contents") -> str:
    steps = _some(len(contents.entries), "step")
    return f"{steps} and {_some(len(contents.kept), 'cache mount')}" if contents.kept else steps


def _some(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


COMMANDS = {"ls": (LS, ls), "prune": (PRUNE, prune_), "export": (EXPORT, export), "import": (IMPORT, import_)}
