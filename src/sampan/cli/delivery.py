"""What ``sampan build`` does with its result: outputs, platforms, annotations, --squash and --metadata-file."""

import os
import sys
from contextlib import suppress

from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from sampan.build.deliver import Delivered, Delivery
    from sampan.build.export import Product
    from sampan.build.outputs import Annotation, Output
    from sampan.build.state import Stores
    from sampan.cli.context import Context
    from sampan.cli.flags import Parsed
    from sampan.engine import Engine
    from sampan.oci.descriptor import Descriptor
    from sampan.oci.platform import Platform
    from sampan.oci.reference import Reference

FLAGS = ("annotation", "load", "metadata-file", "output", "platform", "push", "squash")
"""With any of these a build's result goes through here; without, into the store as it is."""


class Wanted:
    """What was asked for, checked before anything is built."""

    __slots__ = ("annotations", "metadata", "names", "outputs", "platforms", "several", "squash")

    def __init__(self, arguments: "Parsed", names: "Sequence[Reference]", build_args: "Mapping[str, str]") -> None:
        """Raises Invalid, Unsupported."""
        from sampan.build.dockerfile.arguments import MULTI_PLATFORM_ARG, is_on

        self.names = names
        self.platforms = platforms_of(arguments.texts("platform"))
        self.several = len(self.platforms) > 1 or is_on(build_args, MULTI_PLATFORM_ARG)
        self.outputs = _outputs(arguments)
        self.annotations = _annotations(arguments.texts("annotation"))
        self.squash = arguments.on("squash")
        self.metadata = arguments.text("metadata-file")
        for output in self.outputs:
            if output.push and not (names or output.names):
                raise Invalid("what is pushed needs a name", hint="-t REGISTRY/NAME:TAG, or name= of --output")
        to_stdout = [output for output in self.outputs if _is_stdout(output)]
        if len(to_stdout) > 1:
            raise Invalid("several outputs go to standard output", hint="give all but one a dest=FILE")
        if to_stdout and os.isatty(sys.stdout.fileno()):
            raise Invalid("an archive is not written to a terminal", hint="dest=FILE, or redirect the output")
        if self.metadata:
            with suppress(FileNotFoundError):
                os.unlink(self.metadata)

    @property
    def writes_to_stdout(self) -> bool:
        return any(_is_stdout(output) for output in self.outputs)

    @property
    def is_plain(self) -> bool:
        """Whether the result is just an image in the store, for one platform."""
        return not (self.outputs or self.annotations or self.squash or self.metadata or self.several)


def platforms_of(texts: list[str]) -> "tuple[Platform, ...]":
    """What ``--platform`` says; this machine's without. Raises Invalid."""
    from sampan.oci import platform as platforms

    words = [word.strip() for text in texts for word in text.split(",") if word.strip()]
    found = [platforms.host() if word == "local" else platforms.parse(word) for word in words]
    return tuple(dict.fromkeys(found)) or (platforms.host(),)


def _outputs(arguments: "Parsed") -> "tuple[Output, ...]":
    texts = arguments.texts("output")
    if not texts and not (arguments.on("push") or arguments.on("load")):
        return ()
    from sampan.build.outputs import Output, parse

    found = [parse(text) for text in texts]
    if arguments.on("push"):
        found = [each._replace(push=True) if each.kind == "image" else each for each in found]
        if not any(each.push for each in found):
            found.append(Output("image", push=True, store=False))
    if arguments.on("load") and not any(_is_stored(each) for each in found):
        found.append(Output("image"))
    return tuple(found)


def _annotations(texts: list[str]) -> "tuple[Annotation, ...]":
    if not texts:
        return ()
    from sampan.build.outputs import annotations

    return tuple(annotation for text in texts for annotation in annotations(text))


def _is_stored(output: "Output") -> bool:
    return output.kind in ("docker", "image") and output.store and not output.dest


def _is_stdout(output: "Output") -> bool:
    return output.dest == "-" or (output.kind == "oci" and not output.dest)


def deliver(
    products: "Sequence[Product]",
    wanted: Wanted,
    stores: "Stores",
    context: "Context",
    note: "Callable[[str], None]",
    epoch: int | None,
) -> str:
    """Brings what was built to where it is wanted, and gives its id: of the image, or of the index of several.

    Empty if no image was made of it.
    """
    from sampan.build.deliver import Delivery
    from sampan.build.outputs import Output
    from sampan.build.squash import squash

    if wanted.squash:
        products = [squash(product, stores, epoch) for product in products]
    delivery = Delivery(products, stores, wanted.names, wanted.annotations, epoch=epoch, several=wanted.several)
    told: dict[str, Any] = {}
    identifier = ""
    for output in wanted.outputs or (Output("image"),):
        delivered = _perform(output, delivery, context, note)
        if delivered.target and delivered.image:
            identifier = delivered.target.digest if wanted.several else delivered.image.id
            names = [name.canonical() for name in delivery.names(output)]
            told |= _metadata(delivered.target, "" if wanted.several else identifier, names)
    if wanted.metadata:
        import json

        with open(wanted.metadata, "w") as file:
            json.dump(told, file, indent=2)
    return identifier


def _perform(output: "Output", delivery: "Delivery", context: "Context", note: "Callable[[str], None]") -> "Delivered":
    from sampan.build.deliver import Delivered, here
    from sampan.cli.save import output as opened

    if output.kind == "cacheonly":
        return Delivered(None, None)
    where = "standard output" if _is_stdout(output) else output.dest
    if output.kind in ("local", "tar"):
        note(f"exporting files to {where}")
        return delivery.files(output, opened)
    if not (_is_stored(output) or output.push or output.kind == "image"):
        note(f"exporting {output.kind} image to {where}")
        return delivery.archive(output, opened)
    if output.store:
        delivered = delivery.store(output, context.engine.images)
        note(f"writing image {delivered.image.id if delivered.image else ''}")
        for name in delivery.names(output):
            note(f"naming to {name.canonical()}")
    else:
        target, images = delivery.image(output)
        delivered = Delivered(target, here(images))
    if output.push and delivered.target:
        for name in delivery.names(output):
            note(f"pushing {name.canonical()}")
            _push(delivered.target, name, context.engine)
    return delivered


def _push(target: "Descriptor", name: "Reference", engine: "Engine") -> None:
    from sampan import settings as settled
    from sampan.cli import registries
    from sampan.events import quiet
    from sampan.registry.push import likely_sources, push

    with registries.connect(name.registry, settled.read(), push=True) as client:
        sources = likely_sources(engine.images, name, engine.blobs)
        push(target, name, client=client, blobs=engine.blobs, report=quiet, sources=sources)


def _metadata(target: "Descriptor", config: str, names: list[str]) -> "dict[str, Any]":
    """What buildx writes with --metadata-file."""
    told: dict[str, Any] = {"containerimage.descriptor": target.to_json(), "containerimage.digest": target.digest}
    if config:
        told["containerimage.config.digest"] = config
    if names:
        told["image.name"] = ",".join(names)
    return told
