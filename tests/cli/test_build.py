"""``sampan build`` before anything is built: what is understood, and how misuse is answered."""

from pathlib import Path

import pytest

from sampan.build.graph import Copy, Run, Scratch
from sampan.cli import build, buildargs, buildinput, buildshow, buildwords
from sampan.cli.flags import parse
from sampan.cli.main import main
from sampan.errors import Invalid, SampanError
from sampan.oci import reference


def test_labels_count_within_stages() -> None:
    base = Scratch("base", "FROM scratch")
    first = Run(base, ("a",), (), "", "/", stage="base", text="RUN a \\\n  b")
    other = Scratch("", "FROM scratch")
    target = Copy(other, ("/",), first, "/", text="COPY --from=base / /")
    assert buildshow.labels([base, first, other, target]) == [
        "[base 1/2] FROM scratch",
        "[base 2/2] RUN a \\ b",
        "[1/2] FROM scratch",
        "[2/2] COPY --from=base / /",
    ]


def test_build_args(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAS", "value")
    monkeypatch.delenv("HAS_NOT", raising=False)
    assert buildargs.parse(["A=1", "B=", "C=a=b", "HAS", "HAS_NOT"]) == {
        "A": "1",
        "B": "",
        "C": "a=b",
        "HAS": "value",
    }
    with pytest.raises(Invalid):
        buildargs.parse(["=x"])


def test_names() -> None:
    assert buildwords.names(["app", "host:1/app:2"]) == [reference.parse("app:latest"), reference.parse("host:1/app:2")]
    for wrong in ("App", "app@sha256:" + "0" * 64, "app:"):
        with pytest.raises(Invalid):
            buildwords.names([wrong])


def test_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "5")
    assert buildwords.epoch(buildargs.parse([]), b"", None) == 5
    assert buildwords.epoch(buildargs.parse(["SOURCE_DATE_EPOCH=6"]), b"", None) == 6
    assert buildwords.epoch({"SOURCE_DATE_EPOCH": "7"}, b"", None) == 7
    assert buildwords.epoch({"SOURCE_DATE_EPOCH": ""}, b"", None) is None
    for wrong in ("-1", "1.5", "now", "9" * 20):
        with pytest.raises(Invalid):
            buildwords.epoch({"SOURCE_DATE_EPOCH": wrong}, b"", None)


def test_epoch_of_the_dockerfile() -> None:
    text = b"ARG base=17\nARG SOURCE_DATE_EPOCH=${base}00\nFROM scratch\n"
    assert buildwords.epoch({}, text, None) == 1700
    assert buildwords.epoch({"SOURCE_DATE_EPOCH": "7"}, text, None) == 7
    assert buildwords.epoch({"SOURCE_DATE_EPOCH": ""}, text, None) is None
    assert buildwords.epoch({}, b"FROM scratch\nARG SOURCE_DATE_EPOCH=5\n", None) is None


@pytest.mark.parametrize(("modified", "meant"), [(9, "9"), (None, "")])
def test_epoch_of_the_context(modified: int | None, meant: str) -> None:
    values = {"SOURCE_DATE_EPOCH": "context"}
    assert buildwords.epoch(values, b"", modified) == modified
    assert values == {"SOURCE_DATE_EPOCH": meant}


@pytest.mark.parametrize("text", ["x", "=docker-image://x", "x="])
def test_build_contexts_have_a_name_and_a_value(text: str) -> None:
    with pytest.raises(SampanError):
        buildwords.contexts([text])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-t", "name."], "hint: write -t name . (the dot, the build context, is a word of its own)"),
        ([], "hint: name the directory to build from: . is this one"),
        (["a", "b"], "'sampan build' requires 1 argument"),
        (["-t", "Name", "."], "repository names are lower case"),
        (["."], "there is no Dockerfile in {context}"),
        (["-f", "Other", "."], "there is no Other in {context}"),
        (["nowhere"], "the build context {context}/nowhere does not exist"),
        (["https://host:x/repo.git"], "'https://host:x/repo.git' is not a valid URL"),
        (["git@host:repo.git#--upload-pack=x"], "'--upload-pack=x' of a git repository begins with a dash"),
        (["-f", "-", "-"], "standard input cannot be both the build context and the Dockerfile"),
        (["-f", "https://host/x.git", "."], "the Dockerfile cannot be a git repository"),
        (["--cpu-shares", "1", "."], "--cpu-shares is not built yet"),
        (["-o", "type=x", "."], "invalid --output 'type=x'"),
        (["-o", "-", "-o", "type=oci", "."], "several outputs go to standard output"),
        (["--rm=false", "."], "--rm=false is not supported"),
        (["--push", "."], "what is pushed needs a name"),
        (["--platform", "a/b/c/d", "."], "not a platform: 'a/b/c/d'"),
        (["--annotation", "x", "."], "invalid --annotation 'x'"),
        (["--ulimit", "x", "."], "invalid --ulimit 'x'"),
        (["--shm-size", "x", "."], "invalid --shm-size 'x'"),
        (["--jobs", "0", "."], "invalid --jobs 0"),
        (["--provenance=mode=max", "."], "--provenance=false"),
        (["--sbom", "true", "."], "--sbom=false"),
        (["--attest", "type=sbom", "."], "leave it out"),
        (["--builder", "mine", "."], "leave --builder out"),
        (["--progress", "fancy", "."], "auto, plain, tty, quiet, none or rawjson"),
        (["--network", "mine", "."], "--network mine is not supported by build"),
        (["--build-context", "x", "."], "invalid --build-context 'x'"),
    ],
)
@pytest.mark.root
def test_misuse_is_one_sentence_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    monkeypatch.chdir(context)
    assert main(["--root", str(tmp_path / "store"), "build", *arguments]) in (1, 125)
    shown = capsys.readouterr()
    assert said.format(context=context) in shown.err
    assert shown.out == ""


@pytest.mark.root
def test_a_file_that_is_not_in_the_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY requirement.txt .\n")
    (tmp_path / "requirements.txt").write_text("")
    assert main(["--root", str(tmp_path / "store"), "build", str(tmp_path)]) == 1
    shown = capsys.readouterr().err
    assert "sampan: Dockerfile:2: requirement.txt is not in the build context\n" in shown
    assert "    2 | COPY requirement.txt .\n      |      ^^^^^^^^^^^^^^^\n" in shown
    assert "hint: did you mean requirements.txt?" in shown


def test_a_dockerfile_in_lower_case(tmp_path: Path) -> None:
    assert buildinput.beside(None, str(tmp_path)) == "Dockerfile"
    (tmp_path / "dockerfile").touch()
    assert buildinput.beside(None, str(tmp_path)) == "dockerfile"
    (tmp_path / "Dockerfile").touch()
    assert buildinput.beside(None, str(tmp_path)) == "Dockerfile"


def test_what_scripts_say_to_have_no_attestations() -> None:
    words = ["--provenance=false", "--sbom=false", "--attest=type=provenance,disabled=true", "--builder=default", "."]
    buildwords.check_attestations(parse(build.COMMAND, words))
