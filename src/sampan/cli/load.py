"""``sampan load``: images from an archive or an image layout."""

import os
import sys

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid, NotFound, SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sampan.archives.places import Offer, Place
    from sampan.engine import Engine
    from sampan.events import Report
    from sampan.oci.descriptor import Descriptor
    from sampan.oci.platform import Platform
    from sampan.oci.reference import Reference
    from sampan.store.images import Image

COMMAND = Command(
    "[OPTIONS]",
    (
        Flag("-i, --input string", "Read from a tar archive file or an image layout's directory, instead of STDIN"),
        Flag("--platform string", "Load only the given platform"),
        Flag("-q, --quiet", "Suppress the load output"),
    ),
    needs_userns=True,
    runs_nothing=True,
    details="What docker, podman, skopeo, buildx and sampan save is taken, compressed with gzip, zstd, bzip2 or xz or "
    "not at all. Every digest is verified before anything is stored.",
    examples=(
        ("sampan load -i app.tar", "From an archive"),
        ("sampan load < app.tar.gz", "The same, compressed and through a pipe"),
    ),
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.cli.progress import Transfers
    from sampan.oci import platform as platforms

    path, wanted = arguments.text("input"), arguments.text("platform")
    platform = platforms.parse(wanted) if wanted else None
    engine = context.engine
    with engine.storing(), Transfers(sys.stderr, quiet=context.quiet or not sys.stderr.isatty()) as transfers:
        try:
            with opened(path, engine) as place:
                loaded = [(offer, *_load(offer, place, engine, platform, transfers)) for offer in place.offers]
        except SampanError as error:
            error.message = f"{path or 'standard input'} cannot be loaded: {error.message}"
            raise
        for line in _store(loaded, engine):
            context.print(line)
    return 0


def opened(path: str | None, engine: "Engine") -> "AbstractContextManager[Place]":
    """The place at ``path``: an image layout's directory, or an archive (None: standard input), which is read now."""
    from contextlib import nullcontext

    from sampan.archives.archive import Archive
    from sampan.archives.layout import Directory

    if path is None or path == "-":
        if os.isatty(sys.stdin.fileno()):
            raise Invalid("standard input is a terminal", hint="name the archive with -i, or redirect it with <")
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as file:
            return nullcontext(Archive(file, engine.blobs))
    if os.path.isdir(path):
        return Directory(path, engine.blobs)
    with open(path, "rb", buffering=0) as file:
        return nullcontext(Archive(file, engine.blobs))


def _load(
    offer: "Offer", place: "Place", engine: "Engine", platform: "Platform | None", report: "Report"
) -> "tuple[Image, Descriptor]":
    """The image of an offer that is unpacked, and what its names are to point at."""
    from sampan.archives import places
    from sampan.snapshots.admit import admit

    target = places.gather(offer.target, place, engine.blobs, platform)
    image = admit(chosen(places.images(target, engine.blobs)), engine.blobs, engine.snapshots, report)
    if platform and not image.platform.satisfies(platform):
        raise NotFound(f"the image in it is for {image.platform}, not for {platform}")
    return image, target._replace(platform=None)


def chosen(entries: "list[Descriptor]") -> "Descriptor":
    """The image of an index for this machine, or the first if there is none."""
    from sampan.oci import manifest as manifests
    from sampan.oci import platform as platforms

    try:
        return manifests.choose(entries, platforms.host())
    except NotFound:
        if not entries:
            raise NotFound("there is no image in it") from None
        return entries[0]


def _store(loaded: "list[tuple[Offer, Image, Descriptor]]", engine: "Engine") -> list[str]:
    """Puts images and names into their tables, all or none; gives what there is to say of them."""
    from sampan.archives import layout
    from sampan.store.database import transaction

    said = []
    with transaction(engine.database):
        for offer, image, target in loaded:
            engine.images.add(image)
            references = layout.names(offer)
            for reference in references:
                said += _renamed(reference, image, engine)
                engine.images.name(reference, image, target)
                said.append(f"Loaded image: {reference.familiar()}")
            if not references:
                said.append(f"Loaded image ID: {image.id}")
    return said


def _renamed(reference: "Reference", image: "Image", engine: "Engine") -> list[str]:
    before = engine.images.lookup(reference)
    if before is None or before.image_id == image.id:
        return []
    old = before.image_id
    return [f"The image {reference} already exists, renaming the old one with ID {old} to empty string"]
