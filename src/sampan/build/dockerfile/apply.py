"""What each instruction does to its stage: an ``apply_X`` for every instruction X adds a step, or changes the config.

The words of the history are BuildKit's (frontend/dockerfile/dockerfile2llb), for there are tools that read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sampan.build import graph, ignore, remote
from sampan.build.dockerfile import arguments, instructions, lines, mounts, values, words
from sampan.build.dockerfile.instructions import Command, Instruction, Transfer
from sampan.build.dockerfile.lines import Heredoc, Line
from sampan.build.dockerfile.state import StageState
from sampan.build.dockerfile.words import Rules
from sampan.build.graph import Context, Mount, Step
from sampan.build.remote import Remote, Repository
from sampan.errors import Denied, Unsupported
from sampan.oci import platform as platforms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOST_NETWORK = "network.host"
INSECURE = "security.insecure"
"""What --allow calls the host's network, and all privileges."""
_SCRIPTS = "/dev/pipes"

Origin = Context | Step | None


def apply(state: StageState, instruction: Instruction, origins: Sequence[Origin]) -> None:
    """Performs one instruction on ``state``; ``origins`` are whose files COPY, ADD and each mount of RUN take.

    Raises Invalid or Unsupported, showing the line.
    """
    if isinstance(instruction, Transfer):
        (origin,) = origins
        assert origin is not None
        apply_transfer(state, instruction, origin)
    elif isinstance(instruction, instructions.Run):
        apply_run(state, instruction, origins)
    else:
        _APPLY[type(instruction)](state, instruction)


def apply_arg(state: StageState, arg: instructions.Arg) -> None:
    declared = []
    for written, default in arg.definitions:
        name = state.expand(arg.line, written)
        # One after the other: unlike in ENV, a definition sees those before it on the same line.
        value = state.scope.build_args.get(name)
        if value is None and default is not None:
            value = state.expand(arg.line, default)
        elif value is None:
            # Without a value of its own it keeps the one of an ARG before it, maybe in the stage that this one is FROM.
            value = state.scope.globals.get(name)
        shown = name if value is None else f"{name}={value}"
        state.args[name] = state.args.get(name) if value is None else value
        declared.append(shown)
    state.did(f"ARG {' '.join(declared)}")


def apply_env(state: StageState, env: instructions.Env) -> None:
    pairs = _expanded(state, env.line, env.pairs)
    state.env.update(pairs)
    state.args.update((name, value) for name, value in pairs if name in state.args)
    state.did(f"ENV {_joined(pairs)}")


def apply_label(state: StageState, label: instructions.Label) -> None:
    pairs = _expanded(state, label.line, label.pairs)
    state.config = state.config._replace(labels={**state.config.labels, **dict(pairs)})
    state.did(f"LABEL {_joined(pairs)}")


def apply_run(state: StageState, run: instructions.Run, origins: Sequence[Origin]) -> None:
    _refuse_unbuilt(state, run)
    _doubt(state, run.line, run.command)
    argv = state.argv(run.command._replace(words=(_script(run),)) if run.command.shell else run.command)
    args = {name: value for name, value in state.args.items() if value is not None and state.env.get(name) != value}
    proxies = {name: value for name, value in state.scope.proxies.items() if name not in state.variables}
    state.step = graph.Run(
        state.step,
        argv,
        state.environment(),
        state.config.user,
        state.directory,
        tuple(args.items()),
        tuple(proxies.items()),
        run.network or "default",
        (*_mounts(state, run, origins), *_scripts(run)),
        None if platforms.host().satisfies(state.platform) else state.platform,
        state.label,
        state.shown(run.line),
        run.line.number,
        run.security == "insecure",
    )
    seen = [f"{name}={state.variables.get(name, '')}" for name in state.args]
    counted = [f"|{len(seen)}", *seen] if seen else []
    state.did(f"RUN {' '.join((*counted, *argv))} # buildkit", layer=True)


def apply_transfer(state: StageState, transfer: Transfer, origin: Context | Step) -> None:
    """COPY and ADD."""
    line, keyword = transfer.line, transfer.keyword
    chown, chmod = state.expand(line, transfer.chown), state.expand(line, transfer.chmod)
    sources = [state.expand(line, source) for source in transfer.sources]
    dest = state.expand(line, transfer.dest)
    meant = [_source(state, transfer, source) for source in sources]
    _check_remote_flags(state, transfer, meant)
    with line.showing("--chmod"):
        mode = values.mode(chmod)
    exclude = tuple(state.expand(line, pattern) for pattern in transfer.exclude)
    with line.showing("--exclude"):
        ignore.compiled(exclude)
    inline = tuple((document.name, _inline(state, line, document)) for document in transfer.inline)
    absolute = values.destination(state.directory, dest)
    if len(sources) + len(inline) > 1 and not absolute.endswith("/"):
        state.scope.warn(line, f"{keyword} of several sources takes {dest} for a directory; end it in /")
        absolute += "/"
    state.step = graph.Copy(
        state.step,
        tuple(meant),
        origin,
        absolute,
        chown,
        mode,
        exclude,
        bool(transfer.parents),
        bool(transfer.link),
        keyword == "ADD" if transfer.unpack is None else transfer.unpack,
        bool(transfer.unpack),
        inline,
        state.label,
        state.shown(line),
        line.number,
    )
    flags = ["--parents"] if transfer.parents else []
    flags += [f"--{flag}={value}" for flag, value in (("chown", chown), ("chmod", chmod)) if value]
    names = [f"<<{name}" for name, _ in inline]
    shown = [remote.redacted(source) for source in sources]
    state.did(f"{' '.join((keyword, *flags, *shown, *names, dest))} # buildkit", layer=True)


def apply_workdir(state: StageState, workdir: instructions.Workdir) -> None:
    state.enter(state.expand(workdir.line, workdir.path))
    path = state.directory
    if path != "/":
        state.step = graph.MakeDirectory(
            state.step, path, state.config.user, state.label, state.shown(workdir.line), workdir.line.number
        )
    state.did(f"WORKDIR {path}", layer=path != "/")


def apply_user(state: StageState, user: instructions.User) -> None:
    state.config = state.config._replace(user=state.expand(user.line, user.user))
    state.did(f"USER {state.config.user}")


def apply_volume(state: StageState, volume: instructions.Volume) -> None:
    paths = [state.expand(volume.line, path) for path in volume.paths]
    if not all(paths):
        raise volume.line.fault("VOLUME specified can not be an empty string")
    state.config = state.config._replace(volumes=tuple(dict.fromkeys((*state.config.volumes, *paths))))
    state.did(f"VOLUME [{' '.join(paths)}]")


def apply_expose(state: StageState, expose: instructions.Expose) -> None:
    ports: list[str] = []
    for written in expose.ports:
        with expose.line.showing(written):
            for text in words.expand_words(written, state.variables, Rules(state.scope.escape)):
                ports += values.ports(text)
    state.config = state.config._replace(exposed_ports=tuple(dict.fromkeys((*state.config.exposed_ports, *ports))))
    state.did(f"EXPOSE [{' '.join(ports)}]")


def apply_cmd(state: StageState, cmd: instructions.Cmd) -> None:
    _doubt(state, cmd.line, cmd.command)
    argv = state.argv(cmd.command)
    state.config = state.config._replace(cmd=argv)
    state.cmd_is_own = True
    state.did(f"CMD {values.quoted(argv)}")


def apply_entrypoint(state: StageState, entrypoint: instructions.Entrypoint) -> None:
    _doubt(state, entrypoint.line, entrypoint.command)
    argv = state.argv(entrypoint.command)
    # A CMD that the base was made with gives arguments to the base's ENTRYPOINT, not to this one.
    cmd = state.config.cmd if state.cmd_is_own else None
    state.config = state.config._replace(entrypoint=argv or None, cmd=cmd)
    state.did(f"ENTRYPOINT {values.quoted(argv)}")


def apply_shell(state: StageState, shell: instructions.Shell) -> None:
    state.config = state.config._replace(shell=shell.words)
    state.did(f"SHELL [{' '.join(shell.words)}]")


def apply_stopsignal(state: StageState, stop: instructions.StopSignal) -> None:
    signal = state.expand(stop.line, stop.signal)
    with stop.line.showing(stop.signal):
        values.check_signal(signal)
    state.config = state.config._replace(stop_signal=signal)
    state.did(f"STOPSIGNAL {signal}")


def apply_healthcheck(state: StageState, check: instructions.Healthcheck) -> None:
    times = {
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
    }
    value: dict[str, Any] = {"Test": list(check.test), **times, "Retries": check.retries}
    state.config = state.config._replace(healthcheck={name: item for name, item in value.items() if item})
    spans = " ".join(f"{name}:{values.go_duration(span)}" for name, span in times.items())
    state.did(f"HEALTHCHECK {{Test:[{' '.join(check.test)}] {spans} Retries:{check.retries}}}")


def apply_maintainer(state: StageState, maintainer: instructions.Maintainer) -> None:
    state.author = maintainer.name
    state.did(f"MAINTAINER {maintainer.name}")


def apply_onbuild(state: StageState, onbuild: instructions.OnBuild) -> None:
    state.config = state.config._replace(on_build=(*state.config.on_build, onbuild.trigger))


_APPLY: dict[type, Callable[[StageState, Any], None]] = {
    instructions.Arg: apply_arg,
    instructions.Cmd: apply_cmd,
    instructions.Entrypoint: apply_entrypoint,
    instructions.Env: apply_env,
    instructions.Expose: apply_expose,
    instructions.Healthcheck: apply_healthcheck,
    instructions.Label: apply_label,
    instructions.Maintainer: apply_maintainer,
    instructions.OnBuild: apply_onbuild,
    instructions.Shell: apply_shell,
    instructions.StopSignal: apply_stopsignal,
    instructions.User: apply_user,
    instructions.Volume: apply_volume,
    instructions.Workdir: apply_workdir,
}


def _doubt(state: StageState, line: Line, command: Command) -> None:
    if command.shell and not command.words:
        state.scope.warn(line, f"{line.text.split()[0]} says nothing that could be run")
    if instructions.looks_like_exec_form(command):
        keyword = line.text.split()[0]
        state.scope.warn(line, f"{keyword} looks like a JSON array but is none, so a shell runs it as it is")


def _unsupported(line: Line, what: str, at: str, hint: str | None = None) -> Exception:
    return line.fault(f"{what} is not supported yet", at, hint=hint, kind=Unsupported)


def _mounts(state: StageState, run: instructions.Run, origins: Sequence[Origin]) -> tuple[Mount, ...]:
    found: list[Mount] = []
    for mount, origin in zip(run.mounts, origins, strict=True):
        with run.line.showing(mount.text):
            agents = sum(before.kind == "ssh" for before in found)
            meaning = mounts.resolve(
                mount,
                lambda text: state.expand(run.line, text),
                state.directory,
                origin,
                agents,
                lambda message: state.scope.warn(run.line, message),
            )
        apart = state.scope.build_args.get(arguments.CACHE_MOUNT_ARG)
        found.append(meaning._replace(id=f"{apart}/{meaning.id}") if apart and meaning.kind == "cache" else meaning)
    return tuple(found)


def _refuse_unbuilt(state: StageState, run: instructions.Run) -> None:
    if run.devices:
        raise _unsupported(run.line, "RUN --device", "--device")
    if run.network not in ("", "default", "none", "host"):
        raise run.line.fault(f"unknown network {run.network}", "--network", hint="one of default, none, host")
    if run.network == "host" and HOST_NETWORK not in state.scope.allowed:
        hint = f"the one who builds has to agree to it: --allow {HOST_NETWORK}"
        raise run.line.fault("RUN --network=host is not allowed", "--network", hint=hint, kind=Denied)
    if run.security not in ("", "sandbox", "insecure"):
        raise run.line.fault(f"unknown security mode {run.security}", "--security", hint="sandbox or insecure")
    if run.security == "insecure" and INSECURE not in state.scope.allowed:
        hint = f"the one who builds has to agree to it: --allow {INSECURE}"
        raise run.line.fault("RUN --security=insecure is not allowed", "--security", hint=hint, kind=Denied)


def _source(state: StageState, transfer: Transfer, source: str) -> str | Remote:
    """What a source of COPY or ADD means: a path, or what is to be fetched."""
    line, keyword = transfer.line, transfer.keyword
    with line.showing(source):
        found = remote.parse(source)
    if found is None:
        if not source:
            state.scope.warn(line, f"a source of {keyword} is empty, which means everything; is a variable not set?")
        return _inside(source, bool(transfer.parents))
    is_repository = isinstance(found, Repository)
    if keyword == "COPY":
        what = "a git repository" if is_repository else "a URL"
        raise line.fault(f"the source cannot be {what} for COPY", source, hint="use ADD")
    checksum = state.expand(line, transfer.checksum)
    if transfer.checksum and not checksum:
        hint = "is a variable not set?"
        raise line.fault("the checksum is empty, so nothing would be verified", "--checksum", hint=hint)
    with line.showing("--checksum"):
        if not isinstance(found, Repository):
            return found._replace(checksum=values.checksum(checksum))
        keeps = found.keep_git_dir if transfer.keep_git_dir is None else transfer.keep_git_dir
        return remote.with_commit(found, checksum)._replace(keep_git_dir=keeps)


def _check_remote_flags(state: StageState, transfer: Transfer, meant: Sequence[str | Remote]) -> None:
    line, some = transfer.line, any(not isinstance(source, str) for source in meant)
    if transfer.checksum and (len(meant) != 1 or not some):
        raise line.fault("--checksum needs exactly one source, a URL or a git repository", "--checksum")
    if transfer.keep_git_dir and not any(isinstance(source, Repository) for source in meant):
        state.scope.warn(line, "--keep-git-dir has no effect: no source is a git repository")


def _expanded(state: StageState, line: Line, pairs: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """All with the values from before the instruction: in ``ENV a=1 b=$a``, b gets the old a."""
    variables = state.variables
    found = [(state.expand(line, name, variables), state.expand(line, value, variables)) for name, value in pairs]
    if not all(name for name, _ in found):
        raise line.fault(f"{line.text.split()[0].upper()} names can not be blank")
    return found


def _inside(source: str, parents: bool) -> str:
    """The source relative to its root; with --parents the first ``/./`` stays, for it says where paths begin."""
    base, pivot, rest = source.partition("/./") if parents else (source, "", "")
    return f"{values.inside(base)}/./{values.inside(rest)}" if pivot else values.inside(source)


def _joined(pairs: list[tuple[str, str]]) -> str:
    return " ".join(f"{name}={value}" for name, value in pairs)


def _script(run: instructions.Run) -> str:
    """The text for the shell: here-documents are put back behind it, or are the script if there is nothing else."""
    text = "".join(run.command.words)
    if not run.line.heredocs:
        return text
    if not lines.heredoc(text):
        return text + "".join(f"\n{document.content}{document.name}" for document in run.line.heredocs)
    body = run.line.heredocs[0].body
    return f"{_SCRIPTS}/{run.line.heredocs[0].name}" if body.startswith("#!") else body


def _scripts(run: instructions.Run) -> Iterator[Mount]:
    """A here-document that names its interpreter (#!) and stands alone: a file that is mounted and executed."""
    if run.command.shell and run.line.heredocs and lines.heredoc("".join(run.command.words)):
        document = run.line.heredocs[0]
        if "/" in document.name or document.name in (".", ".."):
            raise run.line.fault(f"a here-document cannot be named {document.name}", "<<")
        if document.body.startswith("#!"):
            yield Mount("script", f"{_SCRIPTS}/{document.name}", readonly=True, mode=0o755, content=document.body)


def _inline(state: StageState, line: Line, document: Heredoc) -> bytes:
    body = document.body
    if document.expands:
        with line.showing("<<"):
            body = words.expand(body, state.variables, Rules(quotes=False))
    return body.encode(errors="surrogateescape")
