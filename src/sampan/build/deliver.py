"""What was built, for one platform or several, brought to where it is wanted."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

from sampan.build.export import Product, assemble
from sampan.build.outputs import Annotation, Output, Packing
from sampan.build.state import Dated, Stores
from sampan.errors import Invalid
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.manifest import Index
from sampan.registry import recompress
from sampan.store.conversions import Conversions
from sampan.store.images import Image

if TYPE_CHECKING:
    from sampan.layers.window import Sink
    from sampan.oci.platform import Platform
    from sampan.oci.reference import Reference
    from sampan.store.images import Images

Opener = Callable[[str], "AbstractContextManager[Sink]"]
"""Opens a file (``-``: standard output) to write an archive to."""


class Delivered(NamedTuple):
    """``target`` is the manifest or index of the image, ``image`` the one for this machine, if it was made."""

    target: Descriptor | None
    image: Image | None


class Delivery:
    """Brings one build's products to its outputs. ``annotations`` are for all outputs that can have them."""

    def __init__(
        self,
        products: Sequence[Product],
        stores: Stores,
        names: "Sequence[Reference]",
        annotations: Iterable[Annotation] = (),
        *,
        epoch: int | None = None,
        several: bool = False,
    ) -> None:
        """``several`` treats even one product as the first of several."""
        self._products = products
        self._several = several or len(products) > 1
        self._stores = stores
        self._names = tuple(names)
        self._annotations = tuple(annotations)
        self._epoch = epoch

    def image(self, output: Output) -> tuple[Descriptor, list[Image]]:
        """Stores the blobs of the image that ``output`` asks for, no name: its manifest, or the index of several."""
        annotations = (*self._annotations, *output.annotations)
        images = [self._assemble(product, output.packing, annotations) for product in self._products]
        if not self._several:
            if any(each.on.startswith("index") for each in annotations):
                hint = "only a build for several platforms has one"
                raise Invalid("there is no index to put annotations on", hint=hint)
            on_manifest = _chosen(annotations, "manifest-descriptor", images[0].platform)
            return images[0].manifest._replace(annotations=on_manifest), images
        entries = [
            image.manifest._replace(
                platform=image.platform, annotations=_chosen(annotations, "manifest-descriptor", image.platform)
            )
            for image in images
        ]
        data = Index(media.OCI_INDEX, tuple(entries), _chosen(annotations, "index")).encode()
        digest = self._stores.blobs.put(data)
        on_index = _chosen(annotations, "index-descriptor")
        return Descriptor(media.OCI_INDEX, digest, len(data), annotations=on_index), images

    def store(self, output: Output, images: "Images") -> Delivered:
        """Puts the image into the store's tables, under all its names at once."""
        from sampan.store.database import transaction

        target, made = self.image(output)
        main = here(made)
        with transaction(self._stores.database):
            for image in made:
                images.add(image)
            for name in self.names(output):
                images.name(name, main, target)
        return Delivered(target, main)

    def archive(self, output: Output, opener: Opener) -> Delivered:
        """Writes the image as an archive or, with ``tar`` off, into the image layout in a directory."""
        from sampan.archives import layout
        from sampan.archives.places import Offer
        from sampan.archives.write import write

        target, made = self.image(output)
        offer = Offer(target, tuple(name.canonical() for name in self.names(output)))
        if output.tar:
            with opener(output.dest or "-") as write_to:
                write([offer], self._stores.blobs, write_to, for_docker=output.kind == "docker")
        else:
            os.makedirs(output.dest, exist_ok=True)
            root = layout.open_directory(output.dest)
            try:
                layout.write_directory(root, [offer], self._stores.blobs)
            finally:
                os.close(root)
        return Delivered(target, here(made))

    def files(self, output: Output, opener: Opener) -> Delivered:
        """Writes the files of the result, as a tar or into a directory."""
        from sampan.build import files

        split = self._several if output.split is None else output.split
        trees = [
            (str(product.config.platform).replace("/", "_") if split else "", product.state.chain)
            for product in self._products
        ]
        if len(trees) > 1 and not split:
            raise Invalid("files for several platforms need a directory each", hint="leave out platform-split=false")
        if output.kind == "tar":
            with opener(output.dest) as write_to:
                files.write_tar(trees, self._stores.snapshots, write_to, self._epoch)
        else:
            files.write_directory(trees, self._stores.snapshots, output.dest)
        return Delivered(None, None)

    def names(self, output: Output) -> "tuple[Reference, ...]":
        """The names that an output's image gets. Raises Invalid."""
        from sampan.oci import reference as references

        return (*(references.parse(name).tagged() for name in output.names), *(() if output.names else self._names))

    def _assemble(self, product: Product, packing: Packing, annotations: Sequence[Annotation]) -> Image:
        state = product.state._replace(layers=tuple(self._packed_as(dated, packing) for dated in product.state.layers))
        chosen = {**product.annotations, **_chosen(annotations, "manifest", product.config.platform)}
        return assemble(product._replace(state=state, annotations=chosen), self._stores, epoch=self._epoch)

    def _packed_as(self, dated: Dated, packing: Packing) -> Dated:
        """The layer in the compression asked for; one of the base image stays as it is, unless that is forced."""
        if packing.compression is None or not (dated.created or packing.force):
            return dated
        conversions = Conversions(self._stores.database)
        blob = recompress.convert(dated.layer.descriptor, packing.compression, self._stores.blobs, conversions)
        return dated._replace(layer=dated.layer._replace(descriptor=blob))


def here(images: Sequence[Image]) -> Image:
    """The image that this machine runs, or the first."""
    from sampan.oci import platform as platforms

    host = platforms.host()
    return next((image for image in images if image.platform.satisfies(host)), images[0])


def _chosen(annotations: Iterable[Annotation], on: str, platform: "Platform | None" = None) -> dict[str, str]:
    return {
        each.key: each.value
        for each in annotations
        if each.on == on and (each.platform is None or each.platform == platform)
    }
