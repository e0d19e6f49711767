"""``sampan lint``, ``build --check`` and ``build --call``: what is printed, and the exit codes."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sampan.build.dockerfile import rules
from sampan.cli import calls, rulepage
from sampan.cli.main import main
from sampan.errors import Invalid, Unsupported

BAD = "FROM scratch AS Upper\nCMD program\n"
GOOD = 'FROM scratch\nUSER 1000\nCMD ["/program"]\n'
NOTED = 'FROM scratch\nCMD ["/program"]\n'
BROKEN = "FROM scratch AS Upper\nMAINTAINER me\nENV a=${b:?}\n"

LEVEL = {"enum": ["none", "note", "warning", "error"]}
MESSAGE = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
NUMBER = {"type": "integer", "minimum": 1}
LOCATIONS = {
    "type": "array",
    "minItems": 1,
    "items": {
        "additionalProperties": False,
        "properties": {
            "physicalLocation": {
                "additionalProperties": False,
                "properties": {
                    "artifactLocation": {"properties": {"uri": {"type": "string", "format": "uri-reference"}}},
                    "region": {
                        "additionalProperties": False,
                        "required": ["startLine"],
                        "properties": {
                            "startLine": NUMBER,
                            "startColumn": NUMBER,
                            "endLine": NUMBER,
                            "endColumn": NUMBER,
                            "snippet": MESSAGE,
                        },
                    },
                },
            }
        },
    },
}
SARIF = {  # the properties that are used here, as SARIF 2.1.0 (OASIS) defines them in 3.13, 3.14, 3.27, 3.30, 3.49
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool"],
                "additionalProperties": False,
                "properties": {
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "tool": {
                        "required": ["driver"],
                        "additionalProperties": False,
                        "properties": {
                            "driver": {
                                "required": ["name"],
                                "additionalProperties": False,
                                "properties": {
                                    "name": {"type": "string"},
                                    "version": {"type": "string"},
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            # GitHub's code scanning wants the texts, too.
                                            "required": ["id", "shortDescription", "fullDescription", "help"],
                                            "additionalProperties": False,
                                            "properties": {
                                                "id": {"type": "string"},
                                                "shortDescription": MESSAGE,
                                                "fullDescription": MESSAGE,
                                                "help": MESSAGE,
                                                "helpUri": {"type": "string", "format": "uri"},
                                                "defaultConfiguration": {
                                                    "additionalProperties": False,
                                                    "properties": {"level": LEVEL, "enabled": {"type": "boolean"}},
                                                },
                                            },
                                        },
                                    },
                                },
                            }
                        },
                    },
                    "invocations": {
                        "type": "array",
                        "items": {
                            "required": ["executionSuccessful"],
                            "additionalProperties": False,
                            "properties": {
                                "executionSuccessful": {"type": "boolean"},
                                "toolExecutionNotifications": {
                                    "type": "array",
                                    "items": {
                                        "required": ["message"],
                                        "additionalProperties": False,
                                        "properties": {"level": LEVEL, "message": MESSAGE, "locations": LOCATIONS},
                                    },
                                },
                            },
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "required": ["message"],
                            "additionalProperties": False,
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": -1},
                                "level": LEVEL,
                                "message": MESSAGE,
                                "locations": LOCATIONS,
                            },
                        },
                    },
                },
            },
        },
    },
}


@pytest.fixture
def root(tmp_path: Path) -> list[str]:
    return ["--root", str(tmp_path / "root")]


def directory(tmp_path: Path, text: str) -> str:
    (tmp_path / "Dockerfile").write_text(text)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("text", "code", "last"),
    [
        (BAD, 1, "Check complete, 2 warnings, 1 note found."),
        (GOOD, 0, "Check complete, no warnings found."),
        (NOTED, 0, "Check complete, 1 note found."),
        (BROKEN, 1, "Check incomplete: the build would fail."),
    ],
)
@pytest.mark.parametrize("words", [["lint"], ["build", "--check"], ["build", "--call=check"]])
def test_exit_codes(
    words: list[str],
    text: str,
    code: int,
    last: str,
    tmp_path: Path,
    root: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*root, *words, directory(tmp_path, text)]) == code
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == last
    assert ("b: is not allowed to be unset" in captured.err) == (text is BROKEN)


def test_a_finding_for_people(
    tmp_path: Path, root: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory(tmp_path, BAD)
    monkeypatch.chdir(tmp_path)
    assert main([*root, "lint"]) == 1
    assert capsys.readouterr().out.startswith(
        "Dockerfile:1: warning: Stage name 'Upper' should be lowercase [StageNameCasing]\n"
        "    1 | FROM scratch AS Upper\n"
        "      |                 ^^^^^\n"
        "fix: write the name in lower case\n"
        "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/\n\n"
    )


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    main(words)
    return json.loads(capsys.readouterr().out)


def test_json_is_dockers(tmp_path: Path, root: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    value = printed([*root, "build", "--call=check,format=json", directory(tmp_path, BAD)], capsys)
    place = {"ranges": [{"start": {"line": 1}, "end": {"line": 1}}]}
    first = value["warnings"][0]
    assert {name: first[name] for name in ("ruleName", "detail", "location")} == {
        "ruleName": "StageNameCasing",
        "detail": "Stage name 'Upper' should be lowercase",
        "location": place,
    }
    assert base64.b64decode(value["sources"][0]["data"]).decode() == BAD
    broken = printed([*root, "lint", "--format=json", directory(tmp_path, BROKEN)], capsys)
    assert broken["buildError"]["location"]["ranges"][0]["start"] == {"line": 3}
    assert len(broken["warnings"]) == 2


@pytest.mark.parametrize("text", [BAD, GOOD, BROKEN])
def test_sarif(text: str, tmp_path: Path, root: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    value = printed([*root, "lint", "--format=sarif", directory(tmp_path, text)], capsys)
    jsonschema.validate(value, SARIF)
    (run,) = value["runs"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    if text is BAD:
        region = run["results"][0]["locations"][0]["physicalLocation"]["region"]
        assert BAD.splitlines()[0][region["startColumn"] - 1 : region["endColumn"] - 1] == "Upper"
        assert region["endLine"] == region["startLine"] == 1
    assert run["invocations"][0]["executionSuccessful"] == (text is not BROKEN)
    if text is BROKEN:
        (notification,) = run["invocations"][0]["toolExecutionNotifications"]
        (place,) = notification["locations"]
        assert place["physicalLocation"]["region"] == {"startLine": 3}
        assert place["physicalLocation"]["artifactLocation"]["uri"] == f"file://{tmp_path}/Dockerfile"


def test_several_files(
    tmp_path: Path, root: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {"a": GOOD, "b": BAD, "c": BROKEN}.items():
        (tmp_path / name).mkdir()
        directory(tmp_path / name, text)
    monkeypatch.chdir(tmp_path)
    assert main([*root, "lint", "a", "b/Dockerfile", "nowhere", "c"]) == 1
    captured = capsys.readouterr()
    assert captured.out.index("b/Dockerfile:1: warning: Stage") < captured.out.index("c/Dockerfile:2: warning: Maint")
    assert captured.out.endswith("Check incomplete: the build would fail.\n")
    assert "nowhere" in captured.err
    assert "c/Dockerfile:3: b: is not allowed" in captured.err
    assert main([*root, "lint", "a", "nowhere"]) == 1
    capsys.readouterr()
    value = printed([*root, "lint", "--format=json", "a", "b", "c"], capsys)
    assert [source["filename"] for source in value["sources"]] == ["a/Dockerfile", "b/Dockerfile", "c/Dockerfile"]
    assert {warning["location"]["sourceIndex"] for warning in value["warnings"]} == {1, 2}
    assert value["buildError"]["location"]["sourceIndex"] == 2


def test_findings_that_are_to_be_errors(tmp_path: Path, root: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    context = directory(tmp_path, "# check=error=true\n" + BAD)
    value = printed([*root, "lint", "--format=json", context], capsys)
    message = "lint violation found for rules: JSONArgsRecommended, StageNameCasing"
    assert value["buildError"] == {"message": message, "location": {}}
    assert main([*root, "lint", context]) == 1
    assert capsys.readouterr().out.endswith(" found: check=error=true makes the build fail.\n")
    assert main([*root, "build", context]) == 1
    assert message in capsys.readouterr().err
    notes = printed([*root, "lint", "--format=json", directory(tmp_path, "# check=error=true\n" + NOTED)], capsys)
    assert "buildError" not in notes


def test_the_checks_are_listed(root: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*root, "lint", "--rules"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert listed == [rule.name for rule in rules.ALL]


def test_standard_input_and_a_named_file(
    tmp_path: Path, root: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in (["-"], ["-f", "-", str(tmp_path)]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(BAD.encode())))
        assert main([*root, "lint", *words]) == 1
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "other").write_text(BAD)
    monkeypatch.chdir(tmp_path)
    assert main([*root, "lint", "-f", "sub/other", "."]) == main([*root, "lint", "sub/other"]) == 1
    assert capsys.readouterr().out.count("sub/other:1: warning: Stage name") == 2


def test_wrong_words(tmp_path: Path, root: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*root, "lint", "--format", "xml", directory(tmp_path, GOOD)]) == 1
    assert main([*root, "lint", str(tmp_path / "not-there")]) == 1
    assert main([*root, "lint", "--target", "nosuch", str(tmp_path)]) == 1
    assert "there is no build stage 'nosuch'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["no", "check,format=xml", "targets,format=sarif", "check,color=red"])
def test_wrong_calls(text: str) -> None:
    with pytest.raises(Invalid):
        calls.method(text)


def test_calls() -> None:
    assert calls.method("lint") == calls.method("check,format=text") == ("check", "text")
    with pytest.raises(Unsupported):
        calls.method("subrequests.describe")


OUTLINE = """\
# base the image to build on
ARG base=scratch
ARG unused=1
ARG tag=$base-x
# first the first of all
FROM $base AS first
# mode how to build
ARG mode=fast
ARG tag
RUN --mount=type=secret,id=token,required=true --mount=type=ssh --mount=type=secret,target=/run/secrets/other true
FROM first AS second
ARG own=$mode
FROM busybox:$tag
ARG apart
"""


def test_targets(tmp_path: Path, root: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    value = printed([*root, "build", "--call", "targets,format=json", directory(tmp_path, OUTLINE)], capsys)
    assert [target.get("name") for target in value["targets"]] == ["first", "second", None]
    assert value["targets"][0]["description"] == "the first of all"
    assert value["targets"][2]["default"] is True
    assert main([*root, "build", "--call", "targets", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["TARGET", "DESCRIPTION"],
        ["first", "the", "first", "of", "all"],
        ["second"],
        ["(default)"],
    ]


def test_outline(tmp_path: Path, root: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = [*root, "build", "--target=second", "--build-arg", "mode=slow", directory(tmp_path, OUTLINE)]
    value = printed([*words, "--call=outline,format=json"], capsys)
    assert [(each["name"], each["value"], each.get("description", "")) for each in value["args"]] == [
        ("base", "scratch", "the image to build on"),
        ("tag", "scratch-x", ""),
        ("mode", "slow", "how to build"),
        ("own", "slow", ""),
    ]
    assert [(each["name"], each.get("required", False)) for each in value["secrets"]] == [
        ("token", True),
        ("other", False),
    ]
    assert [each["name"] for each in value["ssh"]] == ["default"]
    assert main([*words, "--call=outline"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("TARGET:      second\n\nBUILD ARG   VALUE")
    assert "SECRET    REQUIRED\ntoken     true\n" in out


def test_the_page_in_docs_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "lint.md"
    assert page.read_text() == rulepage.page()


def test_every_rule_says_what_to_do() -> None:
    for rule in rules.ALL:
        assert rule.sentence
        assert rule.fix
