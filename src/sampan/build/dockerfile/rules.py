"""What lint knows: every rule is a value with a name, a sentence and a fix.

The first table is Docker's (BuildKit, frontend/dockerfile/linter/ruleset.go), names and sentences by the letter, so
that a ``# check=skip=…`` in a file means here what it means there. The second is for people who put Python into images.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

ERROR, WARNING, NOTE = "error", "warning", "note"
"""Levels, called as SARIF calls them. A note alone does not make lint fail."""

_DOCS = "https://docs.docker.com/go/dockerfile/rule/"


class Rule(NamedTuple):
    """``sentence`` says what the rule is about, ``fix`` what to do about a finding."""

    name: str
    sentence: str
    fix: str
    level: str = WARNING
    page: str = ""
    """The last part of the address of Docker's page on it; empty for a rule of ours."""
    experimental: bool = False
    """Looked at only where ``check=experimental=`` asks for it."""
    quiet: bool = False
    """Not told after a build, only when lint is asked for."""

    @property
    def url(self) -> str:
        return f"{_DOCS}{self.page}/" if self.page else ""


StageNameCasing = Rule(
    "StageNameCasing",
    "Stage names should be lowercase",
    "write the name in lower case",
    page="stage-name-casing",
)
FromAsCasing = Rule(
    "FromAsCasing",
    "The 'as' keyword should match the case of the 'from' keyword",
    "write FROM … AS, or from … as",
    page="from-as-casing",
)
NoEmptyContinuation = Rule(
    "NoEmptyContinuation",
    "Empty continuation lines will become errors in a future release",
    "remove the empty line, or put a # there",
    page="no-empty-continuation",
)
ConsistentInstructionCasing = Rule(
    "ConsistentInstructionCasing",
    "All commands within the Dockerfile should use the same casing (either upper or lower)",
    "write all instructions in upper case",
    page="consistent-instruction-casing",
)
DuplicateStageName = Rule(
    "DuplicateStageName",
    "Stage names should be unique",
    "give one of the stages another name",
    page="duplicate-stage-name",
)
ReservedStageName = Rule(
    "ReservedStageName",
    "Reserved words should not be used as stage names",
    "give the stage another name",
    page="reserved-stage-name",
)
JSONArgsRecommended = Rule(
    "JSONArgsRecommended",
    "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    'write it as a JSON array: ["program", "argument"]',
    page="json-args-recommended",
)
MaintainerDeprecated = Rule(
    "MaintainerDeprecated",
    "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    'LABEL org.opencontainers.image.authors="NAME"',
    page="maintainer-deprecated",
)
UndefinedArgInFrom = Rule(
    "UndefinedArgInFrom",
    "FROM command must use declared ARGs",
    "declare it with ARG before the first FROM",
    page="undefined-arg-in-from",
)
WorkdirRelativePath = Rule(
    "WorkdirRelativePath",
    "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base "
    "image changes",
    "begin the path with /",
    page="workdir-relative-path",
)
UndefinedVar = Rule(
    "UndefinedVar",
    "Variables should be defined before their use",
    "declare it with ARG or ENV in this stage",
    page="undefined-var",
)
MultipleInstructionsDisallowed = Rule(
    "MultipleInstructionsDisallowed",
    "Multiple instructions of the same type should not be used in the same stage",
    "keep the last one",
    page="multiple-instructions-disallowed",
)
LegacyKeyValueFormat = Rule(
    "LegacyKeyValueFormat",
    "Legacy key/value format with whitespace separator should not be used",
    "write NAME=VALUE",
    page="legacy-key-value-format",
)
InvalidBaseImagePlatform = Rule(
    "InvalidBaseImagePlatform",
    "Base image platform does not match expected target platform",
    "pull the image for that platform",
)
RedundantTargetPlatform = Rule(
    "RedundantTargetPlatform",
    "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    "leave --platform out",
    page="redundant-target-platform",
)
SecretsUsedInArgOrEnv = Rule(
    "SecretsUsedInArgOrEnv",
    "Sensitive data should not be used in the ARG or ENV commands",
    "hand it to the step that needs it: RUN --mount=type=secret,id=NAME,env=NAME",
    page="secrets-used-in-arg-or-env",
)
InvalidDefaultArgInFrom = Rule(
    "InvalidDefaultArgInFrom",
    "Default value for global ARG results in an empty or invalid base image name",
    "give the ARG a default with which the name is a whole one",
    page="invalid-default-arg-in-from",
)
FromPlatformFlagConstDisallowed = Rule(
    "FromPlatformFlagConstDisallowed",
    "FROM --platform flag should not use a constant value",
    "use $BUILDPLATFORM, or name the platform in the stage's name",
    page="from-platform-flag-const-disallowed",
)
CopyIgnoredFile = Rule(
    "CopyIgnoredFile",
    "Attempting to Copy file that is excluded by .dockerignore",
    "let it through with a line !NAME at the end of .dockerignore",
    page="copy-ignored-file",
)
InvalidDefinitionDescription = Rule(
    "InvalidDefinitionDescription",
    "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not "
    "intended to be a description comment, add an empty line or comment between the instruction and the comment.",
    "begin the comment with the name, or put an empty line below it",
    page="invalid-definition-description",
    experimental=True,
)
ExposeProtoCasing = Rule(
    "ExposeProtoCasing",
    "Protocol in EXPOSE instruction should be lowercase",
    "write tcp, udp or sctp",
    page="expose-proto-casing",
)
ExposeInvalidFormat = Rule(
    "ExposeInvalidFormat",
    "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future "
    "release",
    "name the container's port alone; run -p maps it",
    page="expose-invalid-format",
)

UnpinnedBase = Rule(
    "UnpinnedBase",
    "An image without a version is another image tomorrow",
    "name a version, for example python:3.13-slim, or a digest",
    quiet=True,
)
UnpinnedInstall = Rule(
    "UnpinnedInstall",
    "Packages installed without a version are other packages tomorrow",
    "name versions (NAME==VERSION), or install from a file that does: -r requirements.txt",
    quiet=True,
)
SourceBeforeRequirements = Rule(
    "SourceBeforeRequirements",
    "Copying everything before the requirements are installed installs them again at every change of any file",
    "copy requirements.txt (or pyproject.toml and the lock file) alone, install, and copy the rest after that",
    quiet=True,
)
ShellFormEntrypoint = Rule(
    "ShellFormEntrypoint",
    "An ENTRYPOINT in shell form gets no signals, so a stop takes ten seconds, and no arguments",
    'write it as a JSON array, ["program", "argument"], or begin it with exec',
    quiet=True,
)
RunsAsRoot = Rule(
    "RunsAsRoot",
    "What the image runs should not be root",
    "make a user (RUN useradd --create-home app) and change to it with USER before CMD",
    level=NOTE,
    quiet=True,
)
PythonOutputBuffered = Rule(
    "PythonOutputBuffered",
    "Without PYTHONUNBUFFERED what Python prints may reach the log late, or not at all when it crashes",
    "ENV PYTHONUNBUFFERED=1",
    level=NOTE,
    quiet=True,
)
CacheLeftInLayer = Rule(
    "CacheLeftInLayer",
    "A builder without a package cache leaves the cache of pip or uv in the layer, where it is of no use",
    "RUN --mount=type=cache,target=/root/.cache keeps it out of the image and for the next build, everywhere",
    level=NOTE,
    quiet=True,
)
CacheDisabled = Rule(
    "CacheDisabled",
    "--no-cache-dir and PIP_NO_CACHE_DIR keep pip from using a cache that is shared by builds, so everything is "
    "downloaded again",
    "leave it out, and mount a cache: RUN --mount=type=cache,target=/root/.cache/pip",
    level=NOTE,
    quiet=True,
)
CredentialsInImage = Rule(
    "CredentialsInImage",
    "Whoever has the image can read credentials that stand in its Dockerfile",
    "take them out, hand them over with RUN --mount=type=secret, and have them replaced: they are known now",
    level=ERROR,
)

DOCKER = (
    StageNameCasing,
    FromAsCasing,
    NoEmptyContinuation,
    ConsistentInstructionCasing,
    DuplicateStageName,
    ReservedStageName,
    JSONArgsRecommended,
    MaintainerDeprecated,
    UndefinedArgInFrom,
    WorkdirRelativePath,
    UndefinedVar,
    MultipleInstructionsDisallowed,
    LegacyKeyValueFormat,
    InvalidBaseImagePlatform,
    RedundantTargetPlatform,
    SecretsUsedInArgOrEnv,
    InvalidDefaultArgInFrom,
    FromPlatformFlagConstDisallowed,
    CopyIgnoredFile,
    InvalidDefinitionDescription,
    ExposeProtoCasing,
    ExposeInvalidFormat,
)
PYTHON = (
    UnpinnedBase,
    UnpinnedInstall,
    SourceBeforeRequirements,
    ShellFormEntrypoint,
    RunsAsRoot,
    PythonOutputBuffered,
    CacheLeftInLayer,
    CacheDisabled,
    CredentialsInImage,
)
ALL = (*DOCKER, *PYTHON)
