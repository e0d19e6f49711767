"""Files by HTTP: what is asked of a server, what is believed of its answers, and where credentials go."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import websites
from sampan.build.cancellation import Cancellation
from sampan.build.download import Downloads
from sampan.build.mounts import Secret
from sampan.build.remote import Url, parse
from sampan.errors import Corrupt, Denied, Invalid, NotFound, SampanError, Unavailable
from sampan.oci.digest import sha256
from sampan.store import database
from sampan.store.blobs import Blobs

CANARY = "canary-password"


class Machine:
    """A store, and builds one after the other, each of which has downloads of its own."""

    def __init__(self, root: Path) -> None:
        self.db: sqlite3.Connection = database.connect(str(root / "db"))
        self.blobs = Blobs(str(root / "blobs"))
        self.secrets: dict[str, Secret] = {}
        self.root = root

    def build(self) -> Downloads:
        return Downloads(self.db, self.blobs, self.secrets, Cancellation())

    def get(self, url: str, checksum: str = "") -> bytes:
        """Fetches as a step does: only what cannot be told without."""
        found = parse(url)
        assert isinstance(found, Url)
        found, downloads = found._replace(checksum=checksum), self.build()
        downloads.identity(found)
        return self.blobs.read(downloads.fetch(found).digest)

    def secret(self, name: str, content: bytes) -> None:
        path = self.root / name
        path.write_bytes(content)
        self.secrets[name] = Secret(str(path))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def site() -> Iterator[websites.Website]:
    with websites.website() as site:
        yield site


@pytest.fixture
def other() -> Iterator[websites.Website]:
    with websites.website() as site:
        yield site


@pytest.mark.parametrize(
    "headers", [{"ETag": '"1"'}, {"ETag": 'W/"1"'}, {"Last_Modified": "Thu, 02 Jan 2020 03:04:05 GMT"}]
)
def test_an_unchanged_file_is_not_fetched_again(
    machine: Machine, site: websites.Website, headers: dict[str, str]
) -> None:
    site.put("f", b"one", **headers)
    assert machine.get(f"{site.url}/f") == b"one"
    assert site.asked() == ["GET /f"]
    assert machine.get(f"{site.url}/f") == b"one"
    assert site.asked() == ["HEAD /f"]
    site.put("f", b"two", **{name: value.replace("1", "2").replace("2020", "2021") for name, value in headers.items()})
    assert machine.get(f"{site.url}/f") == b"two"
    assert site.asked() == ["HEAD /f", "GET /f"]


def test_a_server_that_refuses_head_is_asked_otherwise(machine: Machine, site: websites.Website) -> None:
    site.answers_head = False
    site.put("f", b"one", ETag='"1"')
    machine.get(f"{site.url}/f")
    site.asked()
    assert machine.get(f"{site.url}/f") == b"one"
    assert site.asked() == ["HEAD /f", "GET /f"]
    assert site.pages["/f"].headers == {"ETag": '"1"'}


def test_what_no_server_can_confirm_is_fetched_each_time(machine: Machine, site: websites.Website) -> None:
    site.put("f", b"one")
    machine.get(f"{site.url}/f")
    machine.get(f"{site.url}/f")
    assert site.asked() == ["GET /f", "GET /f"]


def test_a_file_is_fetched_once_in_a_build(machine: Machine, site: websites.Website) -> None:
    site.put("f", b"one")
    downloads, url = machine.build(), Url(f"{site.url}/f")
    assert downloads.identity(url) is None
    assert downloads.fetch(url) == downloads.fetch(url)
    assert downloads.identity(url) == sha256(b"one")
    assert site.asked() == ["GET /f"]


def test_a_checksum_makes_asking_needless(machine: Machine, site: websites.Website) -> None:
    site.put("f", b"one", Last_Modified="Thu, 02 Jan 2020 03:04:05 GMT")
    checksum = sha256(b"one")
    assert machine.build().identity(Url(f"{site.url}/f", checksum=checksum)) == checksum
    assert site.asked() == []
    machine.get(f"{site.url}/f", checksum)
    assert machine.get(f"{site.url}/f", checksum) == b"one"
    assert site.asked() == ["GET /f"]
    assert machine.build().fetch(Url(f"{site.url}/f", checksum=checksum)).mtime == 1577934245


def test_a_wrong_checksum_stores_nothing(machine: Machine, site: websites.Website) -> None:
    site.put("f", b"evil", ETag='"1"')
    for _ in range(2):
        with pytest.raises(Corrupt) as caught:
            machine.get(f"{site.url}/f", sha256(b"good"))
        expected = f"the digest of {site.url}/f is {sha256(b'evil')}, not {sha256(b'good')}: nothing was stored"
        assert caught.value.message == expected
        assert machine.blobs.all() == []
    machine.get(f"{site.url}/f")
    with pytest.raises(Corrupt):
        machine.get(f"{site.url}/f", sha256(b"good"))
    downloads = machine.build()
    downloads.fetch(Url(f"{site.url}/f"))
    with pytest.raises(Corrupt):
        downloads.fetch(Url(f"{site.url}/f", checksum=sha256(b"good")))


def test_a_file_that_is_cut_short_is_never_taken(machine: Machine, site: websites.Website) -> None:
    site.put("f", b"one", X_Length="10")
    with pytest.raises(Unavailable, match="closed the connection"):
        machine.get(f"{site.url}/f")
    assert machine.blobs.all() == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Denied), (403, Denied), (404, NotFound), (410, NotFound), (400, Unavailable), (204, Unavailable)],
)
def test_refusals(machine: Machine, site: websites.Website, status: int, kind: type[SampanError]) -> None:
    site.put("f", b"an error page", status)
    with pytest.raises(kind, match=f"{site.url}/f is not .*: the server answers {status}"):
        machine.get(f"{site.url}/f")
    assert machine.blobs.all() == []


def test_credentials(machine: Machine, site: websites.Website) -> None:
    site.put("f", b"one")
    site.authorization = "Basic dTpwQHNz"
    assert machine.get(site.url.replace("//", "//u:p%40ss@") + "/f") == b"one"
    machine.secret("HTTP_AUTH_HEADER_127.0.0.1", b"Scheme x\n")
    site.authorization = "Scheme x"
    assert machine.get(f"{site.url}/f") == b"one"
    machine.secret("HTTP_AUTH_TOKEN_127.0.0.1", b"t")
    site.authorization = "Bearer t"
    assert machine.get(f"{site.url}/f") == b"one"
    machine.secret("HTTP_AUTH_TOKEN_127.0.0.1", CANARY.encode() + b"\r\nX-Other: 1")
    with pytest.raises(Invalid, match="control character") as caught:
        machine.get(f"{site.url}/f")
    assert CANARY not in caught.value.message


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_credentials_stay_with_their_host(
    machine: Machine, site: websites.Website, other: websites.Website, status: int
) -> None:
    machine.secret("HTTP_AUTH_TOKEN_127.0.0.1", CANARY.encode())  # both are on one host, but not on one port
    site.put("start", b"", status, Location="/next")
    site.put("next", b"", status, Location=other.url.replace("//", "//user:password@") + "/there#part")
    other.put("there", b"one")
    assert machine.get(f"{site.url}/start") == b"one"
    assert [CANARY in str(each.headers) for each in site.requests] == [True, True]
    assert [each.path for each in other.requests] == ["/there"]
    assert not any("authorization" in {name.lower() for name in each.headers} for each in other.requests)


@pytest.mark.parametrize("location", ["", "file:///etc/passwd", "gopher://x/", "http://", "/f"])
def test_redirects_that_lead_nowhere(machine: Machine, site: websites.Website, location: str) -> None:
    site.put("f", b"", 302, Location=location)
    with pytest.raises(Unavailable, match="redirects"):
        machine.get(f"{site.url}/f")


def test_nothing_of_a_url_that_may_be_secret_is_told_or_kept(machine: Machine, site: websites.Website) -> None:
    url = site.url.replace("//", f"//user:{CANARY}@") + f"/f?signature={CANARY}"
    with pytest.raises(NotFound) as caught:
        machine.get(url)
    assert CANARY not in f"{caught.value.message} {caught.value.hint}"
    site.put(f"f?signature={CANARY}", b"one", ETag='"1"')
    machine.get(url)
    assert CANARY not in "".join(machine.db.iterdump())


def test_a_build_that_is_given_up_stops(machine: Machine, site: websites.Website) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(SampanError, match="cancelled"):
        Downloads(machine.db, machine.blobs, {}, cancellation).fetch(Url(f"{site.url}/f"))
    assert site.asked() == []
