"""``sampan manifest``: indexes of several platforms, put together here and pushed as one."""

import sys

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Conflict, NotFound
from sampan.oci import reference as references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.oci.platform import Platform
    from sampan.oci.reference import Reference
    from sampan.store.drafts import Drafts, Entry

_INSECURE = Flag("--insecure", "Allow communication with an insecure registry")


def create(arguments: Parsed, context: Context) -> int:
    from sampan.cli import indexes
    from sampan.registry import assemble

    name, *sources = arguments.positionals
    target, drafts = indexes.parse_target(name), _drafts(context)
    existing = drafts.find(target)
    if existing is not None and not arguments.on("amend"):
        raise Conflict(f"there is a manifest list {target} already", hint="--amend adds to it")
    entries = {entry.descriptor.digest: entry for entry in existing or ()}
    with indexes.clients(insecure=arguments.on("insecure")) as connect:
        for text in sources:
            source = references.parse(text).tagged()
            for entry in assemble.look(source, connect(source.registry))[1]:
                entries[entry.descriptor.digest] = entry
    drafts.keep(target, list(entries.values()))
    context.print(f"Created manifest list {target.canonical()}")
    return 0


def annotate(arguments: Parsed, context: Context) -> int:
    from sampan.cli import indexes

    name, text = arguments.positionals
    target, source = indexes.parse_target(name), references.parse(text).tagged()
    drafts = _drafts(context)
    entries = _draft(target, drafts)
    meant = _meant(source, entries, target, insecure=arguments.on("insecure"))
    changed = _platform(arguments, meant)
    drafts.keep(
        target,
        [
            entry._replace(descriptor=entry.descriptor._replace(platform=changed)) if entry is meant else entry
            for entry in entries
        ],
    )
    return 0


def inspect(arguments: Parsed, context: Context) -> int:
    from sampan.cli import indexes, output
    from sampan.oci import manifest as manifests
    from sampan.registry import assemble

    *listed, text = arguments.positionals
    reference = references.parse(text).tagged()
    draft = None if listed or reference.digest else _drafts(context).find(reference)
    if listed:
        target = indexes.parse_target(listed[0])
        meant = _meant(reference, _draft(target, _drafts(context)), target, insecure=arguments.on("insecure"))
        value: object = meant.descriptor.to_json()
    elif draft is not None:
        value = manifests.decode(assemble.index(draft).encode(), "the manifest list")
    else:
        with indexes.clients(insecure=arguments.on("insecure")) as connect:
            received = connect(reference.registry).manifest(reference.repository, reference.selector)
        value = manifests.decode(received.data, "the manifest")
    context.print(output.json(value, indent=3))
    return 0


def push(arguments: Parsed, context: Context) -> int:
    from sampan.cli import indexes
    from sampan.cli.progress import Transfers
    from sampan.registry import assemble

    engine, drafts = context.engine, _drafts(context)
    target = indexes.parse_target(arguments.positionals[0])
    entries = _draft(target, drafts)
    data = assemble.index(entries).encode()
    with (
        engine.storing(),
        indexes.clients(push=True, insecure=arguments.on("insecure")) as connect,
        Transfers(sys.stderr, quiet=not sys.stderr.isatty()) as transfers,
    ):
        digest = assemble.publish(data, entries, target, connect, engine.blobs, transfers)
    engine.collect()
    if arguments.on("purge"):
        drafts.remove(target)
    context.print(digest)
    return 0


def rm(arguments: Parsed, context: Context) -> int:
    from sampan.cli import indexes

    drafts = _drafts(context)

    def remove(text: str) -> None:
        target = indexes.parse_target(text)
        if not drafts.remove(target):
            raise _no_such(target)

    return context.each(arguments.positionals, remove)


def _drafts(context: Context) -> "Drafts":
    from sampan.store.drafts import Drafts

    return Drafts(context.engine.database)


def _draft(target: "Reference", drafts: "Drafts") -> "list[Entry]":
    entries = drafts.find(target)
    if entries is None:
        raise _no_such(target)
    return entries


def _no_such(target: "Reference") -> NotFound:
    return NotFound(f"no such manifest list: {target}", hint="sampan manifest create makes one")


def _meant(source: "Reference", entries: "list[Entry]", target: "Reference", *, insecure: bool) -> "Entry":
    """The entry that ``source`` is: by its digest, or by what its tag means now."""
    from sampan.cli import indexes

    digest = source.digest
    if digest is None:
        with indexes.clients(insecure=insecure) as connect:
            digest = connect(source.registry).manifest(source.repository, source.selector).digest
    found = [
        entry for entry in entries if entry.descriptor.digest == digest and entry.source.repository == source.repository
    ]
    if not found:
        raise NotFound(f"the manifest list {target} has no {source}")
    return found[0]


def _platform(arguments: Parsed, entry: "Entry") -> "Platform":
    from sampan.oci.platform import Platform

    known = entry.descriptor.platform or Platform("linux", "")
    given = {"os": "os", "architecture": "arch", "variant": "variant"}
    return known._replace(**{name: text for name, flag in given.items() if (text := arguments.text(flag))})


COMMANDS = {
    "annotate": (
        Command(
            "[OPTIONS] MANIFEST_LIST MANIFEST",
            (
                Flag("--arch string", "Set architecture"),
                Flag("--os string", "Set operating system"),
                Flag("--variant string", "Set architecture variant"),
                _INSECURE,
            ),
            least=2,
            most=2,
            later="--os-features --os-version",
        ),
        annotate,
    ),
    "create": (
        Command(
            "[OPTIONS] MANIFEST_LIST MANIFEST [MANIFEST...]",
            (Flag("-a, --amend", "Amend an existing manifest list"), _INSECURE),
            least=2,
            most=None,
            details="Takes images that are in registries. Nothing is sent before the list is pushed.",
            examples=(
                (
                    "sampan manifest create lab:5000/app:1 lab:5000/app:1-amd64 lab:5000/app:1-arm64",
                    "A list of two, which sampan manifest push sends",
                ),
            ),
        ),
        create,
    ),
    "inspect": (
        Command("[OPTIONS] [MANIFEST_LIST] MANIFEST", (_INSECURE,), least=1, most=2, later="-v --verbose"),
        inspect,
    ),
    "push": (
        Command(
            "[OPTIONS] MANIFEST_LIST",
            (Flag("-p, --purge", "Remove the local manifest list after push"), _INSECURE),
            least=1,
            most=1,
            needs_userns=True,
            runs_nothing=True,
        ),
        push,
    ),
    "rm": (Command("MANIFEST_LIST [MANIFEST_LIST...]", least=1, most=None), rm),
}
