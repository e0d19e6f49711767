"""``sampan image``: what is done to all images, and what looks into one."""

import os

from sampan.cli import output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed, UsageError
from sampan.store import selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sampan.oci.digest import Digest
    from sampan.snapshots.contents import Contents
    from sampan.store.images import Image

_LISTED = 10  # files, packages and the like that why-big names


def prune(arguments: Parsed, context: Context) -> int:
    from sampan.cli import question
    from sampan.containers import pruning
    from sampan.containers.record import Containers
    from sampan.store import filters

    chosen = selection.parse(arguments.texts("filter"))
    dangling = filters.boolean(chosen, "dangling")
    everything = arguments.on("all") or dangling is False
    chosen.pop("dangling", None)
    which = "all images without at least one container associated to them" if everything else "all dangling images"
    if question.agreed(f"This will remove {which}.", force=arguments.on("force")):
        engine = context.engine
        containers = Containers(engine.database, engine.paths.containers)
        pruned = pruning.images(engine.images, engine.blobs, containers, chosen, everything=everything)
        question.report(context, {"Deleted Images:": pruned.removed}, question.free(context))
    return 0


def verify(arguments: Parsed, context: Context) -> int:
    from sampan.snapshots.verify import Verifier

    engine, names = context.engine, arguments.positionals
    if names and arguments.on("all"):
        raise UsageError("--all goes with no image: it is about the whole store", exit_code=1)
    checker = Verifier(engine.images, engine.blobs, engine.snapshots)
    chosen = [engine.images.find(name) for name in names] if names else engine.images.all()
    damaged = 0
    for image in {image.id: image for image in chosen}.values():
        problems = list(checker.image(image))
        titles = [name.reference.familiar() for name in engine.images.names(image.id)] or ["<none>"]
        context.print(f"{', '.join(titles)} ({image.id.short}): {'damaged' if problems else 'ok'}")
        for problem in problems:
            context.print(output.printable(f"  {problem.what}: {problem.why}"))
        damaged += bool(problems)
    if arguments.on("all"):
        of_store = list(checker.store(engine.database))
        context.print(f"store: {'damaged' if of_store else 'ok'}")
        for problem in of_store:
            context.print(output.printable(f"  {problem.what}: {problem.why}"))
        damaged += bool(of_store)
    return 1 if damaged else 0


def tree(arguments: Parsed, context: Context) -> int:
    """Layers as a tree: what lies on the same layers is drawn on the same branch."""
    engine = context.engine
    chosen = [engine.images.find(name) for name in arguments.positionals] or engine.images.all()
    lineage = engine.snapshots.lineage()
    ends: dict[Digest | None, list[str]] = {}
    below: dict[Digest | None, list[Digest]] = {}
    steps: dict[Digest, str] = {}
    for image in chosen:
        names = [name.reference.familiar() for name in engine.images.names(image.id)] or [image.id.short]
        ends.setdefault(image.chain, []).extend(names)
        steps |= _instructions(image, context)
        chain = image.chain
        while chain is not None:
            parent = lineage[chain][0]
            siblings = below.setdefault(parent, [])
            if chain in siblings:
                break
            siblings.append(chain)
            chain = parent
    for name in ends.get(None, []):
        context.print(f"{name}  (no layers)")
    waiting: list[tuple[Digest, str, str]] = [(root, "", "") for root in reversed(below.get(None, []))]
    while waiting:
        chain, mark, indent = waiting.pop()
        names = ends.get(chain, [])
        told = "  ".join([output.size(lineage[chain][1]), output.shorten(steps.get(chain, ""), 60)])
        context.print(output.printable(f"{mark}{chain.short}  {told}  {', '.join(names)}".rstrip()))
        children = below.get(chain, [])
        for number, child in reversed(list(enumerate(children))):
            last = number == len(children) - 1
            waiting.append((child, f"{indent}{'└─ ' if last else '├─ '}", f"{indent}{'   ' if last else '│  '}"))
    return 0


def why_big(arguments: Parsed, context: Context) -> int:
    from sampan.snapshots import contents, weight
    from sampan.snapshots.lookup import Tree

    engine = context.engine
    image = engine.images.find(arguments.positionals[0])
    found = contents.read(image.chain, engine.snapshots)
    with Tree(engine.snapshots.stack(image.chain), engine.snapshots.userxattr) as files:
        packages = weight.packages(found, files.read_file)
    lost = sum(file.size for file in found.hidden)
    whole = sum(found.layers)
    context.print(f"{arguments.positionals[0]}: {output.size(whole)} in {len(found.layers)} layers\n")
    steps = list(_instructions(image, context).values())
    layers = sorted(enumerate(found.layers), key=lambda layer: -layer[1])[:_LISTED]
    _table(
        context,
        "Layers",
        [[output.size(size), str(number), output.shorten(steps[number], 70)] for number, size in layers],
    )
    visible = sorted(found.visible.values(), key=lambda file: (-file.size, file.path))[:_LISTED]
    _table(context, "Files", [[output.size(file.size), str(file.layer), _path(file.path)] for file in visible])
    _table(
        context,
        "Python packages",
        [[output.size(each.size), each.name, each.version] for each in packages[:_LISTED]],
    )
    hidden = sorted(found.hidden, key=lambda file: (-file.size, file.path))[:_LISTED]
    rows = [[output.size(file.size), str(file.layer), _path(file.path)] for file in hidden if file.size]
    _table(context, f"Replaced or deleted by a later layer, and still there ({output.size(lost)})", rows)
    rows = [[output.size(each.size), each.path, each.advice] for each in weight.leftovers(found)[:_LISTED]]
    _table(context, "Left over", rows)
    return 0


def diff(arguments: Parsed, context: Context) -> int:
    from sampan.snapshots import contents

    engine = context.engine
    first, second = (engine.images.find(name) for name in arguments.positionals)
    before, after = (contents.read(image.chain, engine.snapshots) for image in (first, second))
    for line in _settings(first, second, context):
        context.print(line)
    changed = 0
    for path in sorted(before.visible.keys() | after.visible.keys()):
        line = _change(path, before, after, first.chain == second.chain)
        if line:
            context.print(output.printable(line))
            changed += 1
    sizes = sum(before.layers), sum(after.layers)
    context.print(f"{changed} files differ; {output.size(sizes[0])} → {output.size(sizes[1])}")
    return 0


def _change(path: bytes, before: "Contents", after: "Contents", same: bool) -> str:
    """How a file differs in two images, as ``diff`` of a container says it; "" if it does not."""
    old, new = before.visible.get(path), after.visible.get(path)
    if old is None or new is None:
        file = new or old
        return f"{'A' if new else 'D'} {_path(path)}  {output.size(file.size if file else 0)}"
    if same or (old.size, old.mode, old.mtime) == (new.size, new.mode, new.mtime):
        return ""
    if old.size == new.size:
        return f"C {_path(path)}  {output.size(new.size)}"
    return f"C {_path(path)}  {output.size(old.size)} → {output.size(new.size)}"


def _settings(first: "Image", second: "Image", context: Context) -> "Sequence[str]":
    """The parts of two images' configurations that differ."""
    from sampan.oci import config

    old, new = (config.parse(context.engine.blobs.read(image.id)).config.to_json() for image in (first, second))
    lines = []
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            lines.append(output.printable(f"{key}: {_shown(old.get(key))} → {_shown(new.get(key))}"))
    return lines


def _shown(value: object) -> str:
    from json import dumps

    return "-" if value is None else dumps(value, ensure_ascii=False)


def _instructions(image: "Image", context: Context) -> "Mapping[Digest, str]":
    """What made each layer, by its chain id, the lowest first."""
    from sampan.oci import config
    from sampan.oci.digest import chain_ids

    value = config.parse(context.engine.blobs.read(image.id))
    steps = [str(entry.get("created_by", "")) for entry in value.history if not entry.get("empty_layer")]
    chain = chain_ids(value.diff_ids)
    return dict(zip(chain, steps + [""] * (len(chain) - len(steps)), strict=False))


def _table(context: Context, title: str, rows: "Sequence[Sequence[str]]") -> None:
    if rows:
        context.print(f"{title}:")
        for line in output.align("\n".join("\t".join(map(output.printable, row)) for row in rows)).split("\n"):
            context.print(f"  {line}")
        context.print()


def _path(path: bytes) -> str:
    return "/" + os.fsdecode(path)


COMMANDS = {
    "prune": (
        Command(
            "[OPTIONS]",
            (
                Flag("-a, --all", "Remove all unused images, not just dangling ones"),
                Flag("--filter filter", "Only those made before a moment (until=24h) or with a label", repeat=True),
                Flag("-f, --force", "Do not prompt for confirmation"),
            ),
            needs_userns=True,
            runs_nothing=True,
        ),
        prune,
    ),
    "verify": (
        Command(
            "[OPTIONS] [IMAGE...]",
            (Flag("-a, --all", "Look at the whole store: also at blobs of no image, snapshots and the database"),),
            most=None,
            needs_userns=True,
            runs_nothing=True,
            details="Reads every blob, inflates every layer, and holds every unpacked file against it; without IMAGE, "
            "of all images. Exits with 1 if anything is not what its digest or size says.",
        ),
        verify,
    ),
    "tree": (
        Command(
            "[IMAGE...]",
            most=None,
            needs_userns=True,
            runs_nothing=True,
            details="Draws the layers of images, of all by default. Those that share layers share a branch.",
        ),
        tree,
    ),
    "why-big": (
        Command(
            "IMAGE",
            least=1,
            most=1,
            needs_userns=True,
            runs_nothing=True,
            details="Names the largest layers, files and Python packages, what a later layer replaces or deletes, "
            "and what is left of caches, with ways not to have it.",
        ),
        why_big,
    ),
    "diff": (
        Command(
            "IMAGE IMAGE",
            least=2,
            most=2,
            needs_userns=True,
            runs_nothing=True,
            details="Files that the second image has added (A), changed (C) or lacks (D), and settings that differ.",
        ),
        diff,
    ),
}
