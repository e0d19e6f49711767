"""What --cache-from and --cache-to take, and that nothing else is let through."""

import pytest

from sampan.build.endpoints import Endpoint, parse_source, parse_target
from sampan.errors import Invalid, Unsupported


def test_sources() -> None:
    assert parse_source("app:cache") == Endpoint("registry", "app:cache")
    assert parse_source("type=registry,ref=r.example/app") == Endpoint("registry", "r.example/app")
    assert parse_source("type=local,src=/d,tag=main") == Endpoint("local", "/d", "main")


def test_targets() -> None:
    assert parse_target("type=inline") == Endpoint("inline", "")
    assert parse_target("type=local,dest=d,mode=max,ignore-error=true") == Endpoint("local", "d", "latest", True, False)
    assert parse_target("type=registry,ref=a/b,image-manifest=true,oci-mediatypes=1") == Endpoint("registry", "a/b")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("type=gha", "type=gha"), ("type=s3,region=x,bucket=y", "type=s3"), ("type=azblob", "type=azblob"),
        ("type=local,dest=d,compression=zstd", "compression"), ("type=registry,ref=a,mode=most", "mode=most"),
        ("type=inline,mode=max", "inline"), ("type=local", "dest="), ("type=registry", "ref="), ("dest=d", "no type"),
        ("type=local,dest", "'dest'"), ("type=registry,ref=a,image-manifest=false", "image-manifest=false"),
        ("type=registry,ref=a,ignore-error=perhaps", "ignore-error=perhaps"), ("type=local,src=d", "src"),
    ],
)  # fmt: skip
def test_what_is_unknown_is_named(text: str, named: str) -> None:
    with pytest.raises((Invalid, Unsupported)) as caught:
        parse_target(text)
    assert named in caught.value.message


def test_a_source_is_not_inline() -> None:
    with pytest.raises(Unsupported, match="type=inline"):
        parse_source("type=inline")
