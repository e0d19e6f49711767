import os
import tarfile
from pathlib import Path

import pytest

from sampan.bases import debian
from sampan.bases.debian import Repository, for_suite, parse_targets
from sampan.errors import Invalid, NotFound, Unavailable
from sampan.store.blobs import Blobs

TARGETS = """\
https://mirror.example/debian/ bookworm main Packages
https://mirror.example/debian/ bookworm main Translations
https://mirror.example/debian/ bookworm contrib Packages
https://mirror.example/debian/ bookworm main Packages
https://mirror.example/debian/ bookworm-updates main Packages
https://mirror.example/security/ bookworm-security main Packages
https://other.example/apt cloud-sdk-bookworm main Packages

malformed line
"""
MAIN = Repository("https://mirror.example/debian/", "bookworm", ("main", "contrib"))
UPDATES = Repository("https://mirror.example/debian/", "bookworm-updates", ("main",))
SECURITY = Repository("https://mirror.example/security/", "bookworm-security", ("main",))
OTHER = Repository("https://other.example/apt", "cloud-sdk-bookworm", ("main",))


def test_what_apt_says() -> None:
    assert parse_targets(TARGETS) == [MAIN, UPDATES, SECURITY, OTHER]
    assert MAIN.line() == "deb https://mirror.example/debian/ bookworm main contrib"


def test_the_suite_with_its_updates_and_nothing_else() -> None:
    assert for_suite([OTHER, SECURITY, UPDATES, MAIN], "bookworm", "bookworm") == [MAIN, UPDATES, SECURITY]


def test_another_suite_of_the_same_mirrors() -> None:
    found = for_suite(parse_targets(TARGETS), "trixie", "bookworm")
    assert [(entry.uri, entry.release) for entry in found] == [
        (MAIN.uri, "trixie"),
        (UPDATES.uri, "trixie-updates"),
        (SECURITY.uri, "trixie-security"),
    ]


def test_suites_without_updates() -> None:
    assert for_suite(parse_targets(TARGETS), "sid", "bookworm") == [MAIN._replace(release="sid")]


def test_a_suite_that_is_configured_goes_before_this_machines_own() -> None:
    trixie = Repository("https://new.example/debian", "trixie", ("main",))
    assert for_suite([MAIN, UPDATES, trixie], "trixie", "bookworm") == [trixie]


def test_a_machine_that_does_not_say_what_it_is() -> None:
    assert for_suite([UPDATES, MAIN], "trixie", "")[0] == MAIN._replace(release="trixie")
    with pytest.raises(NotFound, match="no mirror of trixie"):
        for_suite([OTHER], "trixie", "")


@pytest.mark.parametrize(
    ("suite", "include", "variant"),
    [
        ("--help", (), "minbase"),
        ("Bookworm", (), "minbase"),
        ("", (), "minbase"),
        ("bookworm", ("python3,--aptopt",), "minbase"),
        ("bookworm", ("./evil.deb",), "minbase"),
        ("bookworm", ("?essential",), "minbase"),
        ("bookworm", (), "extract"),
    ],
)
def test_names_that_the_tools_would_take_for_something_else(
    tmp_path: object, suite: str, include: tuple[str, ...], variant: str
) -> None:
    with pytest.raises(Invalid):
        debian.build(suite, include, variant, Blobs(str(tmp_path)), lambda line: None)


def test_passwords_in_sources_do_not_get_into_an_image(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Repository("https://me:secret@mirror.example/debian", "bookworm", ("main",))
    monkeypatch.setattr(debian, "configured", lambda: [secret])
    said: list[str] = []
    with pytest.raises(Invalid) as caught:
        debian.build("bookworm", (), "minbase", Blobs(str(tmp_path)), said.append)
    assert "secret" not in f"{caught.value.message} {caught.value.hint} {said}"


APT_CONFIG = """\
echo 'Acquire::http::Proxy "http://me:secret@proxy.example:3128";'
echo 'APT::Sandbox "x";'
"""
MMDEBSTRAP = """\
cd "${0%/*}/.."
printf '%s\\n' "$@" >arguments
echo "$SAMPAN_APT_SETTINGS" >settings
cat image.tar
echo 'I: working' >&2
[ ! -e complaint ] || { cat complaint >&2; exit 1; }
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """apt and mmdebstrap that say what they were asked; the archive is that of ``image.tar``."""
    directory = tmp_path / "bin"
    directory.mkdir()
    programs = {"apt-get": f"cat <<'END'\n{TARGETS}END\n", "apt-config": APT_CONFIG, "mmdebstrap": MMDEBSTRAP}
    for name, text in programs.items():
        (directory / name).write_text(f"#!/bin/sh\n{text}")
        (directory / name).chmod(0o755)
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        archive.add("/etc/hostname")
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return tmp_path


def test_what_mmdebstrap_is_asked_for(tools: Path) -> None:
    said: list[str] = []
    written = debian.build(
        "bookworm", ["python3,ca-certificates", "curl"], "apt", Blobs(str(tools / "blobs")), said.append
    )
    assert written.size == (tools / "image.tar").stat().st_size
    arguments = (tools / "arguments").read_text().splitlines()
    assert arguments[-5:] == ["bookworm", "-", MAIN.line(), UPDATES.line(), SECURITY.line()]
    assert {"--variant=apt", "--include=python3,ca-certificates,curl", "--format=tar"} <= set(arguments)
    assert len(said) == 3


def test_settings_are_lent_where_nobody_else_sees_them(tools: Path) -> None:
    debian.build("bookworm", (), "minbase", Blobs(str(tools / "blobs")), lambda line: None)
    assert "secret" not in (tools / "arguments").read_text()
    settings = (tools / "settings").read_text()
    assert 'Acquire::http::Proxy "http://me:secret@proxy.example:3128";' in settings
    assert "APT::Sandbox" not in settings


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("E: Unable to locate package curlx\nE: apt-get failed\nE: mmdebstrap failed to run\n", "package curlx"),
        ("E: unable to pick chroot mode automatically\n", "unable to pick chroot mode"),
        ("something odd\n", "something odd"),
    ],
)
def test_a_failure_in_the_middle_stores_nothing(tools: Path, said: str, expected: str) -> None:
    (tools / "complaint").write_text(said)
    blobs = Blobs(str(tools / "blobs"))
    with pytest.raises(Unavailable, match=f"mmdebstrap failed: .*{expected}") as caught:
        debian.build("bookworm", (), "minbase", blobs, lambda line: None)
    assert ("subuid" in (caught.value.hint or "")) == ("chroot mode" in said)
    assert blobs.all() == []
    assert os.listdir(blobs.aside) == []
