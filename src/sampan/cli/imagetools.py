"""``sampan imagetools``: images in registries, looked at and put together without being pulled."""

import sys

from sampan.cli import listing
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed, UsageError
from sampan.errors import Invalid
from sampan.oci import reference as references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.oci.reference import Reference
    from sampan.registry.assemble import Connect
    from sampan.registry.client import Received
    from sampan.store.drafts import Entry


def create(arguments: Parsed, context: Context) -> int:
    from sampan.cli import indexes
    from sampan.cli.progress import Transfers
    from sampan.registry import assemble

    engine = context.engine
    targets = [indexes.parse_target(text) for text in arguments.texts("tag")]
    dry, append = arguments.on("dry-run"), arguments.on("append")
    if not (targets or dry):
        raise UsageError("give a name with --tag, or --dry-run", exit_code=1)
    if append and not targets:
        raise UsageError("--append needs the --tag to append to", exit_code=1)
    sources = [references.parse(text).tagged() for text in arguments.positionals]
    annotations = _annotations(arguments.texts("annotation"))
    with (
        engine.storing(),
        indexes.clients(push=not dry) as connect,
        Transfers(sys.stderr, quiet=not sys.stderr.isatty()) as transfers,
    ):
        data, entries = _assembled([*targets[:1], *sources] if append else sources, annotations, connect)
        if dry:
            context.print(data.decode())
            return 0
        for target in targets:
            digest = assemble.publish(data, entries, target, connect, engine.blobs, transfers)
            context.note(f"{target.canonical()}: {digest}")
    engine.collect()
    return 0


def _assembled(
    sources: "list[Reference]", annotations: "dict[str, str]", connect: "Connect"
) -> "tuple[bytes, list[Entry]]":
    """The document to name, and what it lists: a single source as it is, several as a new index."""
    from sampan.registry import assemble

    looked = [assemble.look(source, connect(source.registry)) for source in sources]
    entries = {entry.descriptor.digest: entry for _, found in looked for entry in found}
    if len(looked) == 1 and not annotations:
        return looked[0][0].data, list(entries.values())
    return assemble.index(entries.values(), annotations).encode(), list(entries.values())


def _annotations(texts: "list[str]") -> "dict[str, str]":
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        where, colon, name = key.partition(":")
        if not equals or not key or (colon and where != "index"):
            raise Invalid(f"{text!r} is not an annotation of an index", hint="write it as KEY=VALUE or index:KEY=VALUE")
        found[name if colon else key] = value
    return found


def inspect(arguments: Parsed, context: Context) -> int:
    from sampan.cli import indexes, output
    from sampan.oci import manifest as manifests

    reference = references.parse(arguments.positionals[0]).tagged()
    with indexes.clients() as connect:
        received = connect(reference.registry).manifest(reference.repository, reference.selector)
    if arguments.on("raw"):
        context.print(received.data.decode())
        return 0
    value = manifests.decode(received.data, "the manifest")
    template = arguments.text("format")
    if template is not None:
        context.print(listing.one(_described(reference, received, value), template))
        return 0
    rows = [("Name:", reference.canonical()), ("MediaType:", received.media_type), ("Digest:", received.digest)]
    for title, text in rows:
        context.print(f"{title:<11}{output.printable(text)}")
    entries = value.get("manifests") or ()
    if entries:
        context.print(f"{'':<11}\nManifests:")
    for entry in entries:
        _show(reference, entry, context)
    return 0


def _show(reference: "Reference", entry: "dict[str, Any]", context: Context) -> None:
    from sampan.cli import output
    from sampan.oci import descriptor as descriptors

    found = descriptors.from_json(entry)
    rows = [("Name:", f"{reference.canonical()}@{found.digest}"), ("MediaType:", found.media_type)]
    if found.platform:
        rows.append(("Platform:", str(found.platform)))
    for title, text in rows:
        context.print(f"  {title:<11}{output.printable(text)}")
    for key, text in found.annotations.items():
        context.print(output.printable(f"    {key}: {text}"))
    context.print("")


def _described(reference: "Reference", received: "Received", value: "dict[str, Any]") -> "dict[str, Any]":
    about = {"mediaType": received.media_type, "digest": received.digest, "size": len(received.data)}
    return {"Name": reference.canonical(), "Manifest": {**value, **about}}


COMMANDS = {
    "create": (
        Command(
            "[OPTIONS] SOURCE [SOURCE...]",
            (
                Flag("--annotation stringArray", "Add annotation to the index", repeat=True),
                Flag("--append", "Append to existing manifest"),
                Flag("--dry-run", "Show final image instead of pushing"),
                Flag("-t, --tag stringArray", "Set reference for new image", repeat=True),
            ),
            least=1,
            most=None,
            needs_userns=True,
            runs_nothing=True,
            later="-f --file --builder -p --prefer-index --progress",
            details="A single source is named anew as it is, several become an index. Layers that the registry has in "
            "another repository are not moved over the network.",
            examples=(
                ("sampan imagetools create -t lab:5000/app:1 lab:5000/app:amd64 lab:5000/app:arm64", "An index of two"),
                ("sampan imagetools create -t lab:5000/app:stable lab:5000/app:1", "One more name, for all platforms"),
            ),
        ),
        create,
    ),
    "inspect": (
        Command(
            "[OPTIONS] NAME",
            (
                Flag("--format string", listing.TEMPLATE),
                Flag("--raw", "Show original, unformatted JSON manifest"),
            ),
            least=1,
            most=1,
            later="--builder",
        ),
        inspect,
    ),
}
