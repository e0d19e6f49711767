"""Docker with BuildKit and sampan side by side: the same Dockerfiles, contexts and images to build from.

There is no Docker Hub here. What Dockerfiles name as their base is a busybox with the config of its namesake, and with
small programs in place of what the namesake would have fetched from the internet.
"""

import concurrent.futures
import gzip
import json
import os
import shlex
import sys
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import images
import likeness
import trees
from commands import SOURCE
from peers import Peers
from sampan.oci.digest import sha256
from trees import Directory, File, Hard, Link

_BUILD = ("build", "--network=none", "--no-cache", "-t", "built")
HTTP = "127.0.0.1:8000"
"""Serves the context to ADD."""

_USERS = {"bin": (1, 1), "daemon": (2, 2), "adm": (3, 4), "lp": (4, 7), "mail": (8, 12), "bob": (1000, 1001)}
_PASSWD = "".join(f"{name}:x:{uid}:{gid}::/:/bin/sh\n" for name, (uid, gid) in {"root": (0, 0), **_USERS}.items())
_GROUPS = "".join(f"{name}:x:{gid}:\n" for name, (_, gid) in {"root": (0, 0), **_USERS}.items())
_EVERYWHERE: dict[str, images.Node] = {
    "etc": Directory(),
    "etc/passwd": _PASSWD + "docker:x:500:500::/:/bin/sh\n",
    "etc/group": _GROUPS + "docker:x:500:\nstaff:x:50:bob\naudio:x:29:bob,lp\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/resolv.conf": "",
    "dev": Directory(),
    "proc": Directory(0o555),
    "sys": Directory(0o555),
    "usr": Directory(),
    "usr/bin": Directory(),
    "var": Directory(),
    "var/lib": Directory(),
    "root": Directory(0o700),
    "sbin": Link("bin"),
}
_BASH = {"bin/bash": '#!/bin/sh\nexec /bin/sh "$@"\n'}
_USERADD = '#!/bin/sh\nfor name; do :; done\necho "$name:x:999:999::/home/$name:/bin/false" >>/etc/passwd\n'
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


_NET_RAW = bytes.fromhex("0100000200200000") + bytes(12)
"""CAP_NET_RAW, permitted and effective, as the extended attribute of a file has it (linux/capability.h)."""


class Substitute(NamedTuple):
    """An image: what it has above busybox, and its config."""

    nodes: Mapping[str, images.Node] = {}
    config: Mapping[str, Any] = {}


_GO = Substitute(
    {"go": Directory(0o777), "go/src": Directory(0o777)}, {"WorkingDir": "/go", "Env": [_PATH, "GOPATH=/go"]}
)
SUBSTITUTES = {
    "busybox:latest": Substitute({}, {"Cmd": ["sh"]}),
    "alpine:latest": Substitute({"etc/alpine-release": "3.19\n"}, {"Cmd": ["/bin/sh"]}),
    "debian:latest": Substitute({"etc/debian_version": "12\n"}, {"Cmd": ["bash"]}),
    "ubuntu:latest": Substitute({"etc/lsb-release": "22.04\n"}, {"Cmd": ["/bin/bash"]}),
    "ubuntu:18.04": Substitute({"usr/sbin": Directory(), "usr/sbin/useradd": _USERADD}, {"Cmd": ["/bin/bash"]}),
    "centos:7": Substitute(_BASH, {"Cmd": ["/bin/bash"], "Labels": {"org.label-schema.name": "CentOS Base Image"}}),
    "centos:latest": Substitute({"etc/centos-release": "8\n"}, {"Cmd": ["/bin/bash"]}),
    "golang:latest": _GO,
    "golang:1.9": _GO,
    "nginx:latest": Substitute(
        {"etc/nginx": Directory(), "etc/nginx/nginx.conf": "user nginx;\n"}, {"StopSignal": "SIGQUIT"}
    ),
    "everything:latest": Substitute(  # all that a Dockerfile can inherit
        {
            "srv": Directory(0o2775, (1000, 1001)),
            "srv/setuid": File("#!\n", 0o4755),
            "srv/link": Link("setuid"),
            "srv/one": File("one", 0o640, (1000, 1001)),
            "srv/two": Hard("srv/one"),
            "srv/tree": Directory(),
            "srv/tree/leaf": "leaf",
            "var/link": Link("/srv/tree"),
        },
        {
            "Env": [_PATH, "INHERITED=from the base", "EMPTY="],
            "Cmd": ["base", "cmd"],
            "Entrypoint": ["/bin/base"],
            "User": "bob:staff",
            "WorkingDir": "/srv",
            "Volumes": {"/inherited": {}},
            "ExposedPorts": {"80/tcp": {}},
            "Labels": {"base": "label", "kept": "yes"},
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5000000000, "Retries": 2},
            "StopSignal": "SIGUSR1",
            "Shell": ["/bin/sh", "-ec"],
        },
    ),
    "triggers:latest": Substitute(
        {},
        {
            "OnBuild": [
                "ARG VERSION=1",
                "ENV TRIGGERED=$VERSION",
                "COPY file /triggered/",
                "RUN echo $TRIGGERED >/triggered/run",
                'ENTRYPOINT ["/triggered"]',
                "LABEL triggered=yes",
            ]
        },
    ),
}

CONTEXT: dict[str, trees.Node] = {
    "file": "content of file\n",
    "other": File("other", 0o600, (1000, 1001)),
    "script": File("#!/bin/sh\necho script\n", 0o755),
    "setuid": File("s", 0o4755),
    "setgid": File("s", 0o2711),
    "locked": File("l", 0o000),
    "wide": File("w", 0o666),
    "zero": File(""),
    "a b": "a space",
    "ünïcödé": "letters",
    "[odd]": "brackets",
    "a?b": "question",
    "one.txt": "1",
    "two.txt": "2",
    "three.md": "3",
    "hard1": "hard",
    "hard2": Hard("hard1"),
    "empty": Directory(),
    "closed": Directory(0o700, (1000, 1001)),
    "closed/inside": File("c", 0o640, (1000, 1001)),
    "sticky": Directory(0o1777),
    "group": Directory(0o2775),
    "group/member": "m",
    "dir/a.txt": "a",
    "dir/b.md": "b",
    "dir/.hidden": "h",
    "dir/hard": Hard("hard1"),
    "dir/sub/c.txt": "c",
    "dir/sub/deep/d.txt": "d",
    "dir/sub/deep/e.md": "e",
    "dir/up": Link("../file"),
    "dir/down": Link("sub"),
    "link": Link("file"),
    "dangling": Link("nowhere"),
    "dirlink": Link("dir"),
    "absolute": Link("/etc/passwd"),
    "escaping": Link("../../../../../../../etc/hostname"),
    "loop": Link("loop"),
    "chain": Link("dirlink"),
    "many/1/x/y": "1",
    "many/2/x/y": "2",
    "many/3/x/z": "3",
    "text.tar.gz": "not an archive\n",
    "name-" + "n" * 150: "long",
    "deep/" + "/".join(["d" * 60] * 5): "far",
}


def furnish(context: Path) -> Path:
    """Makes the directory of odd files, with archives among them."""
    trees.make(context, CONTEXT)
    tar = images.layer(
        {
            "packed": Directory(0o750, (5, 6)),
            "packed/file": File("packed", 0o640, (7, 8)),
            "packed/setuid": File("u", 0o4711),
            "packed/link": Link("file"),
            "packed/out": Link("/etc/passwd"),
            "packed/same": Hard("packed/file"),
            "without/parent": "p",
            "./dotted": "d",
        }
    )
    (context / "archive.tar").write_bytes(tar)
    (context / "archive.tgz").write_bytes(gzip.compress(tar, mtime=0))
    (context / "archive").write_bytes(gzip.compress(tar, mtime=0))
    (context / "single.gz").write_bytes(gzip.compress(b"one file\n", mtime=0))
    (context / "empty.tar").write_bytes(images.layer({}))
    over = images.layer(
        {"onto": Link("/srv"), "file": File("from the archive", 0o600, (9, 9)), "dir": Directory(0o711)}
    )
    (context / "over.tar").write_bytes(over)
    with tarfile.open(context / "capable.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for name, key in ("capable", "security.capability"), ("noted", "user.note"):
            entry = tarfile.TarInfo(name)
            entry.pax_headers = {f"SCHILY.xattr.{key}": _NET_RAW.decode()}
            archive.addfile(entry)
    os.setxattr(context / "script", "security.capability", _NET_RAW)
    for name in ("archive.tar", "archive.tgz", "archive", "single.gz", "empty.tar", "over.tar", "capable.tar"):
        os.utime(context / name, (trees.MTIME, trees.MTIME))
    os.utime(context, (trees.MTIME, trees.MTIME))
    return context


class Recipe(NamedTuple):
    """A Dockerfile for each of the engines, most often the same one."""

    docker: Path
    ours: Path
    context: Path
    options: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        return self.docker == self.ours


class Served(NamedTuple):
    """What came of a build: an exit code with all that was said."""

    code: int
    said: str


class Kitchen:
    """Both engines in a sandbox that ``peers`` reach; what they keep ends with it."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._begun = time.time() - 1
        self._layers: dict[str, likeness.Files] = {}
        self._store = peers.directory / "memory/sampan"
        self.directory = peers.directory
        self.context = furnish(peers.directory / "context")
        (peers.directory / "secret").write_text("a secret\n")
        peers("busybox", "httpd", "-p", HTTP, "-h", self.context)
        for name, substitute in SUBSTITUTES.items():
            archive = peers.directory / "base.tar"
            archive.write_bytes(_archive(name, substitute))
            peers("/usr/bin/docker", "load", "-i", archive)
            self._sampan("load", "-i", archive)
            archive.unlink()

    def build(self, recipe: Recipe) -> tuple[Served, Served]:
        """Builds with both at once; with success the images are called "built"."""
        words = (*_BUILD, *recipe.options, "-f")
        return self._both(
            ["/usr/bin/docker", *words, recipe.docker, recipe.context],
            self._words(*words, recipe.ours, recipe.context),
        )

    def build_url(self, url: str) -> tuple[Served, Served]:
        """The same with what is behind a URL as the context."""
        return self._both(["/usr/bin/docker", *_BUILD, url], self._words(*_BUILD, url))

    def build_input(self, file: Path) -> tuple[Served, Served]:
        """The same with a file on standard input as the context."""
        begin = ("sh", "-c", 'exec "$@" <"$0"', file)
        return self._both([*begin, "/usr/bin/docker", *_BUILD, "-"], [*begin, *self._words(*_BUILD, "-")])

    def _both(self, theirs: list[str | Path], ours: list[str | Path]) -> tuple[Served, Served]:
        with concurrent.futures.ThreadPoolExecutor(2) as executor:
            one, other = executor.map(lambda words: self._run(*words), (theirs, ours))
        return one, other

    def differences(self, *, history: bool) -> list[str]:
        """Between the two images that were built last."""
        theirs, ours = self.directory / "theirs.tar", self.directory / "ours.tar"
        self._peers("/usr/bin/docker", "save", "-o", theirs, "built")
        self._sampan("save", "-o", ours, "built")
        one, other = likeness.read(theirs, self._layers), likeness.read(ours, self._layers)
        return likeness.differences(one, other, now=self._begun, history=history)

    def _words(self, *words: str | Path) -> list[str | Path]:
        return ["env", f"PYTHONPATH={SOURCE}", sys.executable, "-m", "sampan", "--root", self._store, *words]

    def _sampan(self, *words: str | Path) -> str:
        return self._peers(*self._words(*words))

    def _run(self, *command: str | Path) -> Served:
        done = self._peers.run(*command)
        return Served(done.returncode, done.stdout + done.stderr)


def _archive(name: str, substitute: Substitute) -> bytes:
    """What ``docker load`` and ``sampan load`` take."""
    layers = [images.busybox_layer(), images.layer({**_EVERYWHERE, **substitute.nodes})]
    config = {
        "architecture": images.ARCHITECTURE,
        "os": "linux",
        "created": "2024-01-02T03:04:05Z",
        "config": {"Env": [_PATH], **substitute.config},
        "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
        "history": [{"created_by": f"a layer of {name}", "created": "2024-01-02T03:04:05Z"} for _ in layers],
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["0.tar", "1.tar"]}]
    contents = {"0.tar": layers[0], "1.tar": layers[1]}
    contents |= {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
    return images.layer(contents)


def options(dockerfile: Path, directory: Path) -> tuple[str, ...]:
    """What the lines "# build: OPTIONS" of a Dockerfile say; PLACE is the directory of the sandbox."""
    lines = dockerfile.read_text(errors="replace").splitlines()
    said = [line.removeprefix("# build:") for line in lines if line.startswith("# build:")]
    return tuple(shlex.split(" ".join(said).replace("PLACE", str(directory))))
