"""What golden folders cannot say: how often images are asked for, kinds of errors, depth, secrets."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sampan.build import graph
from sampan.build.context import open_context
from sampan.build.dockerfile.translate import translate
from sampan.build.graph import Graph
from sampan.errors import Denied, Invalid, NotFound, SampanError, Unavailable
from sampan.events import Event, Warned
from sampan.oci import config as configs
from sampan.oci import platform as platforms
from sampan.oci.config import ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest
from sampan.oci.platform import Platform
from sampan.store.images import Image

DIGEST = Digest("sha256:" + "0" * 64)
AMD64 = Platform("linux", "amd64")
SECRET = "hunter2"


class Build:
    """Runs translate() with images that all have the same config, and keeps what it asked for and said."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.config = config or {}
        self.asked: list[str] = []
        self.warnings: list[str] = []

    def __call__(self, text: str | bytes, **given: Any) -> Graph:
        settings = {"build_args": {}, "target": None, "contexts": {}, "platform": AMD64, **given}
        return translate(
            text.encode(errors="surrogateescape") if isinstance(text, str) else text,
            filename="Dockerfile",
            context=open_context(str(Path(__file__).parent)),
            resolve=self.resolve,
            report=self.report,
            **settings,
        )

    def resolve(self, name: str, platform: Platform) -> tuple[Image, ImageConfig]:
        self.asked.append(name)
        value = {"os": platform.os, "architecture": platform.architecture, "rootfs": {"diff_ids": [DIGEST]}}
        return Image(DIGEST, Descriptor("", DIGEST, 1), DIGEST, platform, "", 0), configs.parse(
            json.dumps({**value, "config": self.config}).encode()
        )

    def report(self, event: Event) -> None:
        assert isinstance(event, Warned)
        self.warnings.append(event.message)


def test_only_needed_images_are_asked_for_and_each_once() -> None:
    build = Build()
    build("FROM a\nFROM b AS b\nFROM a AS c\nCOPY --from=d / /\nFROM c\nCOPY --from=a / /\nCOPY --from=d / /\n")
    assert build.asked == ["a", "d"]


def test_a_step_is_made_once_and_shared() -> None:
    target = Build()("FROM a AS a\nRUN 1\nFROM a AS b\nFROM a AS c\nRUN 2\nCOPY --from=b / /\n").target
    assert isinstance(target, graph.Copy)
    assert isinstance(target.parent, graph.Run)
    assert target.parent.parent is target.origin


@pytest.mark.parametrize("kind", [NotFound, Denied, Unavailable])
def test_errors_of_the_registry_keep_their_kind_and_show_the_line(kind: type[SampanError]) -> None:
    def fail(name: str, platform: Platform) -> tuple[Image, ImageConfig]:
        raise kind(f"no {name}", hint="log in")

    build = Build()
    build.resolve = fail  # type: ignore[method-assign]
    with pytest.raises(kind) as caught:
        build("\nFROM x\n")
    assert caught.value.message == "Dockerfile:2: no x\n    2 | FROM x\n      |      ^"
    assert caught.value.hint == "log in"


def test_image_without_layers_is_an_empty_file_system() -> None:
    build = Build()

    def empty(name: str, platform: Platform) -> tuple[Image, ImageConfig]:
        image, config = Build.resolve(build, name, platform)
        return image._replace(chain=None), config._replace(diff_ids=())

    build.resolve = empty  # type: ignore[method-assign]
    made = build("FROM x\n")
    assert isinstance(made.target, graph.Scratch)
    assert made.config.history == ()


def test_base_config_is_kept() -> None:
    config = {
        "User": "u",
        "ExposedPorts": {"1/tcp": {}},
        "Env": ["A=1", "PATH=/x"],
        "Entrypoint": ["e"],
        "Cmd": ["c"],
        "Volumes": {"/v": {}},
        "WorkingDir": "/w",
        "Labels": {"l": "1"},
        "StopSignal": "TERM",
        "Shell": ["s"],
        "Healthcheck": {"Test": ["NONE"]},
    }
    assert Build(config)("FROM x\n").config.config.to_json() == config


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "expected"),
    [
        ("", "", (None, None)),
        ("", 'CMD ["c", "p"]', (None, ("c", "p"))),
        ("", "CMD c p", (None, ("/bin/sh", "-c", "c p"))),
        ("ENTRYPOINT e p", "", (("/bin/sh", "-c", "e p"), None)),
        ("ENTRYPOINT e p", 'CMD ["c", "p"]', (("/bin/sh", "-c", "e p"), ("c", "p"))),
        ("ENTRYPOINT e p", "CMD c p", (("/bin/sh", "-c", "e p"), ("/bin/sh", "-c", "c p"))),
        ('ENTRYPOINT ["e", "p"]', "", (("e", "p"), None)),
        ('ENTRYPOINT ["e", "p"]', 'CMD ["c", "p"]', (("e", "p"), ("c", "p"))),
        ('ENTRYPOINT ["e", "p"]', "CMD c p", (("e", "p"), ("/bin/sh", "-c", "c p"))),
    ],
)
@pytest.mark.parametrize("cmd_first", [True, False])
def test_entrypoint_and_cmd(
    entrypoint: str, cmd: str, cmd_first: bool, expected: tuple[tuple[str, ...] | None, tuple[str, ...] | None]
) -> None:
    order = (cmd, entrypoint) if cmd_first else (entrypoint, cmd)
    config = Build()("\n".join(("FROM scratch", *order))).config.config
    assert (config.entrypoint, config.cmd) == expected


def test_entrypoint_of_a_later_stage_resets_the_cmd_of_the_stage_below() -> None:
    config = Build()('FROM scratch AS a\nCMD ["c"]\nFROM a\nENTRYPOINT ["e"]\n').config.config
    assert (config.entrypoint, config.cmd) == (("e",), None)


def test_many_stages_do_not_nest() -> None:
    stages = ["FROM scratch AS s0"]
    for number in range(1, 3000):
        stages += [f"FROM s{number - 1} AS s{number}", f"COPY --from={max(0, number - 2)} / /"]
    made = Build()("\n".join(stages))
    assert len(made.config.history) == 2999


def test_stages_that_ONBUILD_needs_do_not_nest() -> None:
    stages = ["FROM scratch AS s0"]
    for number in range(1, 1000):
        stages += [
            f"FROM scratch AS b{number}",
            f"ONBUILD COPY --from=s{number - 1} / /",
            f"FROM b{number} AS s{number}",
        ]
    assert len(graph.ordered(Build()("\n".join(stages)).target)) > 1000


def test_secret_proxy_is_nowhere_but_in_what_is_not_keyed() -> None:
    made = Build()("FROM a\nRUN x\n", build_args={"HTTPS_PROXY": f"http://me:{SECRET}@proxy"})
    assert isinstance(made.target, graph.Run)
    assert SECRET in str(made.target.unkeyed)
    assert SECRET not in str(made.target._replace(unkeyed=()))
    assert SECRET.encode() not in made.config.encode()


@pytest.mark.parametrize("variables", [{}, {"X": "1"}])
def test_unused_build_argument_is_told(variables: dict[str, str]) -> None:
    build = Build({"OnBuild": ["ARG FROM_TRIGGER"]})
    build("FROM a\n", build_args={**variables, "FROM_TRIGGER": "1", "no_proxy": "x", "SOURCE_DATE_EPOCH": "0"})
    assert build.warnings == [f"the build argument {name} is not used: no ARG declares it" for name in variables]


@pytest.mark.parametrize(
    ("mode", "expected"), [("644", "0644"), ("0644", "0644"), ("7777", "7777"), ("00000755", "0755"), ("0", "0000")]
)
def test_octal_modes(mode: str, expected: str) -> None:
    target = Build()(f"FROM scratch\nARG m={mode}\nCOPY --chmod=$m a b\n").target
    assert isinstance(target, graph.Copy)
    assert target.chmod == expected


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("8", Invalid),
        ("10000", Invalid),
        ("x", Invalid),
        ("-1", Invalid),
        ("u+z", Invalid),
        ("u=rwX,", Invalid),
    ],
)
def test_other_modes(mode: str, kind: type[SampanError]) -> None:
    with pytest.raises(kind):
        Build()(f"FROM scratch\nCOPY --chmod={mode} a b\n")


@pytest.mark.parametrize(
    ("directory", "dest", "expected"),
    [
        ("/w", ".", "/w/"),
        ("/w", "./", "/w/"),
        ("/w", "x", "/w/x"),
        ("/w", "x/", "/w/x/"),
        ("/w", "x/.", "/w/x/"),
        ("/w", "..", "/"),
        ("/w/v", "..", "/w"),
        ("/w", "../../x", "/x"),
        ("/w", "/", "/"),
        ("/w", "//x", "/x"),
        ("/w", "/x/../y/", "/y/"),
        ("/", "", "/"),
    ],
)
def test_destinations(directory: str, dest: str, expected: str) -> None:
    target = Build()(f'FROM scratch\nWORKDIR {directory}\nCOPY ["a", "{dest}"]\n').target
    assert isinstance(target, graph.Copy)
    assert target.dest == expected


WORDS = st.sampled_from(
    [
        *("FROM", "scratch", "AS", "a", "b", "RUN", "COPY", "ADD", "ENV", "ARG", "LABEL", "ONBUILD", "CMD", "WORKDIR"),
        *("HEALTHCHECK", "EXPOSE", "USER", "VOLUME", "SHELL", "STOPSIGNAL", "ENTRYPOINT", "MAINTAINER", "NONE"),
        *("--from=a", "--chown=x", "--chmod=1", "--interval=1s", "--platform=linux/arm64", "--link", "--", "--x"),
        *("\n", "\n", "\n", "\\\n", "#", " ", "\t", "\r\n", "\0", "\x0b", "\u2028", "\ufeff"),
        *("<<EOF", "<<-'E'", "EOF\n", "E\n", "<<", '["a", "b"]', "[", "]", '"', "'", "\\", "`", "# escape=`\n"),
        *(
            "$a",
            "${a",
            "}",
            "${a:-",
            "${a//",
            "/",
            "${a##*",
            "?}",
            "$",
            "=",
            "a=$a$a",
            "80-90/tcp",
            ":",
            "@",
            "..",
            "*",
        ),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.lists(WORDS, max_size=40).map(" ".join), st.lists(WORDS, max_size=60).map("".join)))
@example("FROM scratch\nCOPY <<a /\n\udcff\na\nRUN <<b\n\udcff\nb\n")
@example("FROM scratch\n" + "ENV a=$a$a$a$a$a$a$a$a$a$a.\n" * 30)
@example("FROM scratch\nCMD " + "[" * 50_000)
@example("FROM scratch\nLABEL a=" + "${b:-" * 2000 + "}" * 2000)
@example("FROM " + "a" * 100_000)
def test_any_text_is_built_or_refused(text: str) -> None:
    try:
        made = Build({"OnBuild": [text[:50]]})("FROM x\n" + text)
    except SampanError:
        return
    made.config.encode()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_built_or_refused(data: bytes) -> None:
    for text in (data, b"FROM x\nRUN " + data, b"FROM x\nLABEL a=" + data, b"FROM x\nCOPY <<a /\n" + data + b"\na\n"):
        try:
            Build()(text).config.encode()
        except SampanError:
            continue


def test_steps_know_what_they_are_programs_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platforms, "host", lambda: AMD64)
    text = "FROM --platform=$BUILDPLATFORM a AS b\nRUN x\nFROM c\nCOPY --from=b / /\nRUN y"
    steps = graph.ordered(Build()(text, platform=Platform("linux", "arm64", "v8")).target)
    assert [step.platform for step in steps if isinstance(step, graph.Run)] == [None, Platform("linux", "arm64")]
    steps = graph.ordered(Build()(text, platform=AMD64).target)
    assert [step.platform for step in steps if isinstance(step, graph.Run)] == [None, None]
