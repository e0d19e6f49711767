"""Names and platforms as the projects test them that define them: distribution's and containerd's own tables."""

import re

import pytest

import gotables
from sampan.errors import Invalid
from sampan.oci import platform as platforms
from sampan.oci import reference as references
from sampan.oci.platform import Platform

NAMES = "docker/distribution/reference/"
PLATFORMS = "containerd/containerd/platforms/"
HEX64 = re.compile(r"[0-9a-f]{64}")


def accepted(text: str) -> bool:
    try:
        references.parse(text)
    except Invalid:
        return False
    return True


def test_references() -> None:
    cases = gotables.structs(gotables.function(gotables.read(f"{NAMES}reference_test.go"), "TestReferenceParse"))
    assert len(cases) >= 25
    for case in cases:
        text = case["input"]
        assert accepted(text) == ("err" not in case), text
        if "err" not in case:
            reference = references.parse(text)
            assert (reference.tag or "") == case.get("tag", ""), text
            assert (reference.digest or "") == case.get("digest", ""), text
            assert reference.canonical().startswith((case["repository"], "docker.io/")), text
            if "." in case.get("domain", "") or ":" in case.get("domain", ""):
                assert reference.registry == case["domain"], text


@pytest.mark.parametrize("function", ["TestWithNameFailure", "TestParseReferenceWithTagAndDigest"])
def test_what_has_no_name(function: str) -> None:
    text = gotables.function(
        gotables.read(f"{NAMES}reference_test.go" if "Name" in function else f"{NAMES}normalize_test.go"), function
    )
    for case in gotables.structs(text):
        assert not accepted(case["input"]), case["input"]


def test_host_names() -> None:
    cases = gotables.structs(gotables.function(gotables.read(f"{NAMES}reference_test.go"), "TestSplitHostname"))
    assert len(cases) >= 6
    for case in cases:
        reference = references.parse(case["input"])
        registry = case["domain"] or references.DEFAULT_REGISTRY
        assert (reference.registry, reference.repository) == (registry, case["name"])


@pytest.mark.parametrize("function", ["TestValidateReferenceName", "TestValidateRemoteName"])
def test_normalized_names(function: str) -> None:
    body = gotables.function(gotables.read(f"{NAMES}normalize_test.go"), function)
    kind = "RepoNames" if "Reference" in function else "RepositoryNames"
    valid, invalid = gotables.texts(body, f"valid{kind}"), gotables.texts(body, f"invalid{kind}")
    assert len(valid) + len(invalid) >= 20
    assert [text for text in valid if not accepted(text)] == []
    assert [text for text in invalid if accepted(text)] == []


def test_familiar_and_full_names() -> None:
    cases = gotables.structs(gotables.function(gotables.read(f"{NAMES}normalize_test.go"), "TestParseRepositoryInfo"))
    cases = [case for case in cases if "RemoteName" in case]
    assert len(cases) >= 14
    for case in cases:
        for text in filter(None, (case["FamiliarName"], case["FullName"], case["AmbiguousName"])):
            reference = references.parse(text)
            found = (reference.repository, reference.familiar(), reference.canonical(), reference.registry)
            assert found == (case["RemoteName"], case["FamiliarName"], case["FullName"], case["Domain"])


def test_any_references() -> None:
    cases = gotables.structs(gotables.function(gotables.read(f"{NAMES}normalize_test.go"), "TestParseAnyReference"))
    plain = [case for case in cases if "Reference" in case and case.get("Equivalent", "").startswith("docker.io/")]
    assert len(plain) >= 12
    for case in plain:
        assert references.parse(case["Reference"]).canonical() == case["Equivalent"]


def test_registries() -> None:
    cases = gotables.structs(gotables.function(gotables.read(f"{NAMES}regexp_test.go"), "TestDomainRegexp"))
    assert len(cases) >= 15
    for case in cases:
        assert references._is_registry(case["input"]) == (case["match"] == "true"), case["input"]


def test_identifiers() -> None:
    cases = gotables.structs(gotables.function(gotables.read(f"{NAMES}regexp_test.go"), "TestIdentifierRegexp"))
    assert len(cases) >= 3
    for case in cases:
        whole = len(case["input"]) == 64  # shorter ones are names, unless an image here begins so
        assert not (whole and case["match"] == "true" and accepted(case["input"])), case["input"]


@pytest.mark.parametrize("function", ["TestFullNameRegexp", "TestReferenceRegexp"])
def test_grammar(function: str) -> None:
    """The plain grammar takes a first part for a host that, to people, is Docker Hub's: that much may differ."""
    cases = gotables.structs(gotables.function(gotables.read(f"{NAMES}regexp_test.go"), function))
    assert len(cases) >= 10
    for case in cases:
        text = case["input"]
        if HEX64.fullmatch(text) or len(text) > 255:
            continue
        # With a tag behind it, what has a colon of its own is no name any more.
        tagged = f"{text}:tag" if function == "TestFullNameRegexp" else text
        assert accepted(tagged) == (case["match"] == "true"), text


def test_platforms_as_written() -> None:
    body = gotables.function(gotables.read(f"{PLATFORMS}platforms_test.go"), "TestParseSelector")
    entries = re.findall(
        r'^\t\t\tinput: +"([^"]+)",\n\t\t\texpected: specs\.Platform\{(.*?)^\t\t\t\},(.*?)^\t\t\tformatted',
        body,
        re.M | re.S,
    )
    cases = [entry for entry in entries if "*" not in entry[0]]
    assert len(cases) >= 14
    for text, expected, matches in cases:
        found = platforms.parse(text)
        assert found.normal() == _platform(expected), text
        for each in re.findall(r"\{\n(.*?)\}", matches, re.S):
            assert _platform(each) == found.normal(), (text, each)


def _platform(fields: str) -> Platform:
    values = dict(re.findall(r'(\w+): +("[^"]*"|\w+),', fields))
    here = {"defaultOS": "linux", "defaultArch": platforms.host().architecture, "defaultVariant": ""}
    words = [here.get(values.get(key, ""), values.get(key, "").strip('"')) for key in ("OS", "Architecture", "Variant")]
    return Platform(*words).normal()


def test_what_is_no_platform() -> None:
    body = gotables.function(gotables.read(f"{PLATFORMS}platforms_test.go"), "TestParseSelectorInvalid")
    cases = gotables.structs(body)
    assert len(cases) >= 6
    for case in cases:
        with pytest.raises(Invalid):
            platforms.parse(case["input"])


def test_which_images_run_where() -> None:
    body = gotables.function(gotables.read(f"{PLATFORMS}compare_test.go"), "TestOnly")
    blocks = re.findall(r'platform: "([^"]+)",\n\t+matches:.*?true: +\{(.*?)\},\n\t+false: +\{(.*?)\}', body, re.S)
    assert len(blocks) >= 10
    count = 0
    for wanted, fitting, others in blocks:
        for expected, texts in ((True, fitting), (False, others)):
            for text in re.findall(r'"([^"]+)"', texts):
                assert platforms.parse(text).satisfies(platforms.parse(wanted)) is expected, (wanted, text)
                count += 1
    assert count >= 80


def test_the_best_of_several() -> None:
    from sampan.oci import media
    from sampan.oci.descriptor import Descriptor
    from sampan.oci.digest import sha256
    from sampan.oci.manifest import choose

    def best(wanted: str, *offered: str) -> str:
        entries = [Descriptor(media.OCI_MANIFEST, sha256(text.encode()), 1, platforms.parse(text)) for text in offered]
        return str(choose(entries, platforms.parse(wanted)).platform)

    assert best("linux/amd64", "linux/386", "linux/amd64") == "linux/amd64"
    assert best("linux/amd64", "linux/386", "linux/arm64") == "linux/386"
    assert best("linux/arm/v7", "linux/arm/v5", "linux/arm/v6") == "linux/arm/v6"
    assert best("linux/arm64", "linux/arm/v7", "linux/arm64/v8") == "linux/arm64/v8"
    assert best("linux/amd64/v3", "linux/amd64", "linux/amd64/v2") == "linux/amd64/v2"
