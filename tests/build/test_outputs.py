"""--output and --annotation as they are written."""

import pytest

from sampan.build.outputs import Annotation, Output, Packing, annotations, parse
from sampan.errors import SampanError
from sampan.oci.platform import Platform
from sampan.registry.recompress import Compression


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("out", Output("local", "out")),
        ("./a b/c", Output("local", "./a b/c")),
        ("-", Output("tar", "-")),
        ("type=local,dest=out", Output("local", "out")),
        ('type=tar,"dest=a,b.tar"', Output("tar", "a,b.tar")),
        ("type=tar,dest=-,platform-split=true", Output("tar", "-", split=True)),
        ("type=oci,dest=x.tar", Output("oci", "x.tar")),
        ("type=oci,dest=x,tar=false", Output("oci", "x", tar=False)),
        ("type=docker", Output("docker")),
        ('type=image,"name=a:1,b:2",push=true', Output("image", names=("a:1", "b:2"), push=True)),
        ("type=registry,name=a", Output("image", names=("a",), push=True, store=False)),
        ("type=image,store=false", Output("image", store=False)),
        ("type=cacheonly", Output("cacheonly")),
        ("type=image,compression=zstd", Output("image", packing=Packing(Compression("zstd")))),
        (
            "type=oci,dest=-,compression=gzip,compression-level=9,force-compression=true",
            Output("oci", "-", packing=Packing(Compression("gzip", 9), True)),
        ),
        ("type=image,compression=uncompressed", Output("image", packing=Packing(Compression("none")))),
        ("type=image,annotation.k=v", Output("image", annotations=(Annotation("manifest", "k", "v"),))),
        ("type=image,annotation-index.a.b=v", Output("image", annotations=(Annotation("index", "a.b", "v"),))),
    ],
)
def test_outputs(text: str, output: Output) -> None:
    assert parse(text) == output


@pytest.mark.parametrize(
    "text",
    [
        *("", "a,b", "type=", "type=nothing", "dest=x", "type=local", "type=tar", "type=local,dest=x,name=a"),
        *("type=oci,dst=x", "type=image,push=maybe", "type=image,compression=lzma", "type=image,compression-level=3"),
        *("type=image,compression=gzip,compression-level=99", "type=image,oci-mediatypes=false"),
        *("type=image,annotation=x", "type=image,annotation-config.k=v", "type=image,registry.insecure=true"),
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(SampanError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("k=v", [Annotation("manifest", "k", "v")]),
        ("k=", [Annotation("manifest", "k", "")]),
        ("k=a:b=c", [Annotation("manifest", "k", "a:b=c")]),
        ("index:k=v", [Annotation("index", "k", "v")]),
        ("manifest[linux/arm64]:k=v", [Annotation("manifest", "k", "v", Platform("linux", "arm64"))]),
        ("index,manifest-descriptor:k=v", [Annotation("index", "k", "v"), Annotation("manifest-descriptor", "k", "v")]),
    ],
)
def test_annotations(text: str, found: list[Annotation]) -> None:
    assert list(annotations(text)) == found


@pytest.mark.parametrize("text", ["k", "=v", "index:=v", "config:k=v", "manifest[]:k=v"])
def test_annotations_that_make_no_sense(text: str) -> None:
    with pytest.raises(SampanError):
        annotations(text)
