"""The images that a build begins with: in the store, by another name, or pulled."""

from __future__ import annotations

import sys

from sampan.cli import buildinput
from sampan.cli.context import Context
from sampan.errors import NotFound, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.engine import Engine
    from sampan.oci.config import ImageConfig
    from sampan.oci.platform import Platform
    from sampan.store.images import Image


def resolve(name: str, platform: Platform, context: Context, *, pull: bool) -> tuple[Image, ImageConfig]:
    """A base image: the store's, else the registry's; with ``pull`` the other way round.

    Names below localhost are never pulled: that is no registry, but where images are that were made here.
    """
    from sampan.oci import reference as references

    engine = context.engine
    if name.startswith(buildinput.LAYOUT):
        return with_config(buildinput.image_of_layout(name, platform, engine), engine)
    if pull and references.parse(name).registry != "localhost":
        return with_config(fetched(name, platform, context), engine)
    try:
        image = engine.images.find(name)
        if not image.platform.satisfies(platform):
            image = variant(name, image, platform, context) or fetched(name, platform, context)
    except NotFound:
        image = fetched(name, platform, context)
    return with_config(image, engine)


def variant(name: str, image: Image, platform: Platform, context: Context) -> Image | None:
    """The image for another platform in the index that ``name`` points at, if all of it is here."""
    from sampan.archives import stored
    from sampan.events import quiet
    from sampan.oci import reference as references
    from sampan.snapshots.admit import admit

    engine = context.engine
    known = engine.images.lookup(references.parse(name).tagged())
    if known is None or known.target.digest == image.manifest.digest:
        return None
    try:
        entry = stored.target(image, known.target, engine.blobs, platform)
    except NotFound:
        return None
    found = admit(entry, engine.blobs, engine.snapshots, quiet)
    engine.images.add(found)
    return found


def with_config(image: Image, engine: Engine) -> tuple[Image, ImageConfig]:
    from sampan.oci import config as configs

    return image, configs.parse(engine.blobs.read(image.id))


def fetched(name: str, platform: Platform, context: Context) -> Image:
    from sampan.cli.progress import Transfers
    from sampan.cli.pull import fetch
    from sampan.oci import platform as platforms
    from sampan.oci import reference as references

    reference, images = references.parse(name).tagged(), context.engine.images
    before = images.lookup(reference)
    try:
        with Transfers(sys.stderr, quiet=context.quiet) as transfers:
            image = fetch(reference, context.engine, platform, transfers)
        if before and not platforms.host().satisfies(platform):
            # What is fetched to build for another platform must not take the name from what is run here.
            images.name(reference, images.get(before.image_id), before.target)
        return image
    except (NotFound, Unavailable) as error:
        other = f"--build-context {reference.familiar()}=docker-image://localhost/python:host"
        way_out = f"without a registry: sampan base host, then build with {other}"
        raise type(error)(error.message, hint=f"{error.hint} – {way_out}" if error.hint else way_out) from error
