"""Git repositories as sources of a build, by the machine's own ``git``.

What a repository holds is foreign, and so is its address, which may come from a Dockerfile. So git gets an environment
of its own: nobody's configuration but what is here, no hooks, no prompts, no protocol but http, https, git and, with an
agent, ssh (also for submodules: not ext, which runs commands, nor file), and addresses and refs only where no option
can stand (CVE-2019-13139). Credentials are in the environment, never on a command line that others can see; they are
for one host, and with them no redirect is followed.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from signal import SIG_BLOCK, SIG_SETMASK, SIGINT, SIGKILL, pthread_sigmask
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from sampan.build.cancellation import Cancellation
from sampan.build.download import basic, header_value
from sampan.build.mounts import Secret
from sampan.build.remote import Repository, is_commit
from sampan.errors import Corrupt, Denied, NotFound, SampanError, Unavailable

if TYPE_CHECKING:
    from subprocess import Popen

_PASSED_ON = (
    "PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH",
)  # fmt: skip
_PROTOCOLS = "http:https:git"
_ENVIRONMENT = {
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
    "GIT_SSH_VARIANT": "ssh",
}
_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.logAllRefUpdates": "false",
    "core.autocrlf": "false",
    "advice.detachedHead": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "60",
}
_MAX_SHOWN = 300
_ASK_FOR_MORE = re.compile("not our ref|unadvertised|does not allow|shallow|depth|couldn't find remote ref", re.I)


class Access(NamedTuple):
    """What the one who builds lets git use. ``agents`` are the sockets of ssh agents by their names."""

    secrets: Mapping[str, Secret]
    agents: Mapping[str, str]
    cancellation: Cancellation


class Resolved(NamedTuple):
    """What a repository's ref leads to: a commit (for a commit id as the ref: that id), and the ref's full name, empty
    for a commit id."""

    commit: str
    name: str


def resolve(repository: Repository, access: Access) -> Resolved:
    """Asks the remote, unless the ref is a commit id. Raises NotFound, and Corrupt if it is not the commit wanted."""
    if is_commit(repository.ref):
        return _expected(repository, Resolved(repository.ref, ""))
    wanted = repository.ref
    patterns = [wanted, f"{wanted}^{{}}"] if wanted else ["HEAD"]
    listed = _run(["ls-remote", "--symref", "--", repository.remote, *patterns], repository, access)
    commits: dict[str, str] = {}
    head = ""
    for line in listed.splitlines():
        value, _, name = line.partition("\t")
        if value.startswith("ref: "):
            head = value.removeprefix("ref: ") if name == "HEAD" else head
        elif is_commit(value):
            commits[name] = value
    # A branch goes before a tag of the same name, as with git checkout.
    names = (f"refs/{wanted.removeprefix('refs/')}", f"refs/heads/{wanted}", f"refs/tags/{wanted}")
    for name in names if wanted else ("HEAD",):
        if name in commits:
            commit = commits.get(f"{name}^{{}}", commits[name])
            return _expected(repository, Resolved(commit, name if wanted else head), commits[name])
    what = f"branch or tag {wanted}" if wanted else "branch that its HEAD names"
    raise NotFound(f"the git repository {repository.shown} has no {what}")


def checkout(repository: Repository, resolved: Resolved, directory: str, access: Access) -> int:
    """Puts the files of the commit into ``directory``, which is empty, with ``.git`` only if the repository is to keep
    it: files are 0644 or 0755. Gives the commit's time, in seconds since 1970. Raises SampanError."""

    def git(*arguments: str) -> str:
        return _run(arguments, repository, access, directory)

    git("init", "-q", "--template=", *(["--object-format=sha256"] if len(resolved.commit) == 64 else []))
    git("remote", "add", "--", "origin", repository.remote)
    _fetch(repository, resolved, directory, access)
    git("checkout", "-q", "-f", "--detach", f"{resolved.commit}^{{commit}}")
    committed = int(git("show", "-s", "--format=%ct", f"{resolved.commit}^{{commit}}"))
    has_submodules = repository.submodules and os.path.lexists(f"{directory}/.gitmodules")
    if has_submodules:
        git("submodule", "-q", "update", "--init", "--recursive", "--depth=1")
    if repository.keep_git_dir:
        if resolved.name.startswith("refs/"):
            git("update-ref", resolved.name, resolved.commit)
        os.unlink(f"{directory}/.git/FETCH_HEAD")
    else:
        _remove_git(directory, everywhere=has_submodules)
    if repository.dated:
        _date(directory, committed)
    return committed


def _expected(repository: Repository, found: Resolved, tag: str = "") -> Resolved:
    if not found.commit.startswith(repository.commit) and not tag.startswith(repository.commit):
        where = f"{repository.ref or 'HEAD'} of the git repository {repository.shown}"
        raise Corrupt(f"{where} is {found.commit}, not {repository.commit}")
    return found


def _fetch(repository: Repository, resolved: Resolved, directory: str, access: Access) -> None:
    """Fetches the commit alone; or else, from servers that do not give it, its ref; or else everything."""
    everything = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
    attempts = [["--depth=1", "--", "origin", resolved.commit], ["--", "origin", *everything]]
    if resolved.name:
        attempts.insert(1, ["--depth=1", "--", "origin", resolved.name])
    for attempt in attempts:
        try:
            _run(["fetch", "-q", "--no-tags", *attempt], repository, access, directory)
        except _Failed as error:
            if not _ASK_FOR_MORE.search(error.message):
                raise
        if _has(repository, resolved.commit, directory, access):
            return
    raise NotFound(f"the git repository {repository.shown} has no commit {resolved.commit}")


def _has(repository: Repository, commit: str, directory: str, access: Access) -> bool:
    try:
        _run(["cat-file", "-e", f"{commit}^{{commit}}"], repository, access, directory)
    except _Failed:
        return False
    return True


def _date(directory: str, time: int) -> None:
    for above, directories, files in os.walk(directory):
        for path in (above, *(f"{above}/{name}" for name in (*directories, *files))):
            os.utime(path, (time, time), follow_symlinks=False)


def _remove_git(directory: str, *, everywhere: bool) -> None:
    """Removes what is git's own; of submodules it is a file, or a directory, below any directory."""
    from shutil import rmtree

    if not everywhere:
        rmtree(f"{directory}/.git")
        return
    for above, directories, files in os.walk(directory):
        if ".git" in directories:
            directories.remove(".git")
            rmtree(f"{above}/.git")
        if ".git" in files:
            os.unlink(f"{above}/.git")


class _Failed(Unavailable):
    """git failed, for a reason that is in its words alone."""


def _run(arguments: Sequence[str], repository: Repository, access: Access, directory: str = "/") -> str:
    """What git prints. It is killed, with all that it started, when the build is given up."""
    from subprocess import DEVNULL, PIPE, Popen

    process: Popen[bytes] | None = None

    def end() -> None:
        if process and process.returncode is None:
            os.killpg(process.pid, SIGKILL)

    environment = _environment(repository, access)
    # An interrupt must not fall between the start of git and our knowing of it, or nobody would end it.
    held = pthread_sigmask(SIG_BLOCK, (SIGINT,))
    try:
        process = Popen(
            ["git", *arguments], cwd=directory, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, umask=0o022,
            start_new_session=True,
        )  # fmt: skip
        pthread_sigmask(SIG_SETMASK, held)
        with access.cancellation.ending(end):
            output, errors = _outcome(process)
    except FileNotFoundError:
        message = f"the git repository {repository.shown} cannot be fetched: git is not installed"
        raise Unavailable(message, hint="install it, or add a tar archive by its URL") from None
    finally:
        pthread_sigmask(SIG_SETMASK, held)
        end()
    access.cancellation.check()
    if process.returncode:
        raise _failure(repository, errors.decode(errors="replace"))
    return output.decode(errors="surrogateescape")


def _outcome(process: "Popen[bytes]") -> tuple[bytes, bytes]:
    from subprocess import TimeoutExpired

    while True:
        # A signal that comes just before the system call that waits does not end it.
        with suppress(TimeoutExpired):
            return process.communicate(timeout=1)


def _failure(repository: Repository, said: str) -> SampanError:
    """What git complained of: the line that says it, and a way out where there is a likely one."""
    lines = [line.strip() for line in said.replace(":\n", ": ").splitlines() if line.strip()]
    reasons = [line for line in lines if line.startswith(("fatal: ", "error: ", "ERROR: "))]
    reason = (reasons or lines or ["it says nothing"])[0].partition(": ")
    message = f"the git repository {repository.shown} cannot be fetched: {(reason[2] or reason[0])[:_MAX_SHOWN]}"
    if "Host key verification failed" in said:
        host, _, port = repository.host.partition(":")
        hint = f"look at the key (ssh-keyscan {f'-p {port} ' if port else ''}{host}) and add it to ~/.ssh/known_hosts"
        return Denied(f"the git repository {repository.shown} is on a host whose key is not known", hint=hint)
    if re.search("Permission denied|could not read Username|Authentication failed|error: 40[13]", said):
        token = f"give it a token: --secret id=GIT_AUTH_TOKEN.{repository.host},env=NAME"
        return Denied(message, hint="has the agent (--ssh default) a key for it?" if repository.by_ssh else token)
    return _Failed(message)


def _environment(repository: Repository, access: Access) -> dict[str, str]:
    found = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _ENVIRONMENT
    if "default" in access.agents:
        found |= _ssh(access.agents["default"])
    elif repository.by_ssh:
        hint = "give it the agent that has the key: --ssh default"
        raise Denied(f"the build has no ssh agent to fetch {repository.shown} with", hint=hint)
    config = {**_CONFIG, **dict(_credentials(repository, access.secrets))}
    found["GIT_CONFIG_COUNT"] = str(len(config))
    for number, (name, value) in enumerate(config.items()):
        found[f"GIT_CONFIG_KEY_{number}"] = name
        found[f"GIT_CONFIG_VALUE_{number}"] = value
    return found


def _credentials(repository: Repository, secrets: Mapping[str, Secret]) -> Iterator[tuple[str, str]]:
    parts = urlsplit(repository.remote)
    if parts.scheme not in ("http", "https"):
        return
    value = _authorization(repository, secrets)
    if value:
        yield f"http.{parts.scheme}://{parts.netloc}/.extraHeader", f"Authorization: {value}"
        # git sends the header wherever it is redirected to.
        yield "http.followRedirects", "false"


def _authorization(repository: Repository, secrets: Mapping[str, Secret]) -> str:
    """By BuildKit's names of secrets, those for this host first; the others do not go to just any host in the clear."""
    names = ["GIT_AUTH_HEADER", "GIT_AUTH_TOKEN"]
    own = [f"{name}.{repository.host}" for name in names]
    for name in (*own, *(names if repository.remote.startswith("https://") else ())):
        if name in secrets:
            value = header_value(secrets[name], name)
            return value if name.startswith("GIT_AUTH_HEADER") else basic(f"x-access-token:{value}")
    return basic(unquote(repository.login)) if repository.login else ""


def _ssh(agent: str) -> dict[str, str]:
    """ssh, for submodules too, with the keys of the forwarded agent alone, and to hosts whose keys the user knows."""
    from shlex import quote

    known = os.path.expanduser("~/.ssh/known_hosts")
    options = ("BatchMode=yes", "IdentityFile=none", "StrictHostKeyChecking=yes", f'UserKnownHostsFile="{known}"')
    command = " ".join(("ssh", "-F", "/dev/null", *(f"-o {quote(option)}" for option in options)))
    return {"GIT_ALLOW_PROTOCOL": f"{_PROTOCOLS}:ssh", "GIT_SSH_COMMAND": command, "SSH_AUTH_SOCK": agent}
