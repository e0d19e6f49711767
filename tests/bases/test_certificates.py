import base64
import hashlib
from pathlib import Path

from sampan.bases import certificates
from sampan.bases.contents import Contents
from sampan.bases.interpreter import Interpreter
from sampan.bases.pip import plan

PUBLIC = b"-----BEGIN CERTIFICATE-----\npublic\n-----END CERTIFICATE-----\n"
PRIVATE = b"-----BEGIN CERTIFICATE-----\nprivate\n-----END CERTIFICATE-----\n"
INSIDE = "pip/_vendor/certifi/cacert.pem"


def record(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"pip/__init__.py,,\n{INSIDE},sha256={digest},{len(data)}\npip-1.dist-info/RECORD,,\n"


def test_the_bundle_as_it_was_shipped(tmp_path: Path) -> None:
    bundle = tmp_path / "cacert.pem"
    bundle.write_bytes(PUBLIC)
    assert certificates.as_recorded(str(bundle), INSIDE, record(PUBLIC)) == PUBLIC
    bundle.write_bytes(PUBLIC + PRIVATE)
    assert certificates.as_recorded(str(bundle), INSIDE, record(PUBLIC)) == PUBLIC


def test_a_bundle_that_is_past_finding(tmp_path: Path) -> None:
    bundle = tmp_path / "cacert.pem"
    bundle.write_bytes(PRIVATE + PUBLIC)
    assert certificates.as_recorded(str(bundle), INSIDE, record(PUBLIC)) is None
    assert certificates.as_recorded(str(bundle), INSIDE, f"{INSIDE},,\n") is None
    assert certificates.as_recorded(str(bundle), INSIDE, "") is None


def test_debian_certificates_that_were_not_changed(tmp_path: Path) -> None:
    directory = tmp_path / "usr/share/ca-certificates/mozilla"
    directory.mkdir(parents=True)
    sums = tmp_path / "var/lib/dpkg/info/ca-certificates.md5sums"
    sums.parent.mkdir(parents=True)
    for name, data in (("Good.crt", PUBLIC), ("Changed.crt", PRIVATE), ("Unlisted.crt", PRIVATE)):
        (directory / name).write_bytes(data)
    digest = hashlib.md5(PUBLIC, usedforsecurity=False).hexdigest()
    listed = [f"{digest}  usr/share/ca-certificates/mozilla/{name}.crt" for name in ("Good", "Changed", "Gone")]
    sums.write_text("\n".join([*listed, f"{digest}  usr/share/doc/ca-certificates/copyright"]) + "\n")
    assert certificates.from_debian(str(tmp_path)) == PUBLIC
    (directory / "Good.crt").unlink()
    assert certificates.from_debian(str(tmp_path)) is None
    sums.unlink()
    assert certificates.from_debian(str(tmp_path)) is None


def image_with(tmp_path: Path, bundle: bytes) -> tuple[Contents, bytes | None]:
    """What is planned for a pip whose bundle was shipped as PUBLIC and now has these bytes."""
    packages = tmp_path / "lib/python3.11/site-packages"
    for name, data in (
        ("pip/__main__.py", b"print('pip')\n"),
        (INSIDE, bundle),
        ("pip-1.dist-info/RECORD", record(PUBLIC).encode()),
        ("private_ca.pth", b"import os\n"),
    ):
        path = packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    python = Interpreter("", str(tmp_path), "/usr/local", str(tmp_path / "lib/python3.11"), (3, 11, 0))
    contents = Contents(python.place)
    pip = plan(python, contents)
    assert pip
    return contents, pip.bundle


def test_no_certificate_that_was_added_here_gets_into_an_image(tmp_path: Path) -> None:
    contents, bundle = image_with(tmp_path, PUBLIC + PRIVATE)
    assert bundle == PUBLIC
    entries = {entry.name.rpartition("site-packages/")[2]: entry for entry in contents}
    assert entries[INSIDE].data == PUBLIC
    assert "private_ca.pth" not in entries


def test_a_replaced_bundle_gives_way_to_that_of_the_image(tmp_path: Path) -> None:
    contents, bundle = image_with(tmp_path, PRIVATE)
    assert bundle is None
    (entry,) = (entry for entry in contents if entry.name.endswith("cacert.pem"))
    assert entry.target == certificates.BUNDLE
