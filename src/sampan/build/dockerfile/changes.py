"""``--change`` of commit and import: single instructions applied to the config of an image."""

from collections.abc import Sequence

from sampan.build.dockerfile import instructions, lines, parsers
from sampan.build.dockerfile.apply import apply
from sampan.build.dockerfile.state import Scope, StageState
from sampan.build.graph import Scratch
from sampan.errors import Invalid
from sampan.events import quiet
from sampan.oci import platform as platforms
from sampan.oci.config import ContainerConfig

KINDS = (
    instructions.Cmd,
    instructions.Entrypoint,
    instructions.Env,
    instructions.Expose,
    instructions.Healthcheck,
    instructions.Label,
    instructions.OnBuild,
    instructions.StopSignal,
    instructions.User,
    instructions.Volume,
    instructions.Workdir,
)


def changed(config: ContainerConfig, texts: Sequence[str]) -> ContainerConfig:
    """``config`` after these instructions. Raises Invalid for what is none, or does more than change a config."""
    had_path = any(entry.startswith("PATH=") for entry in config.env)
    state = StageState(Scope({}, {}, {}, "\\", quiet), "", Scratch(), config, platforms.host())
    state.config = state.config._replace(on_build=config.on_build)
    for text in texts:
        document = lines.parse(text.encode(errors="surrogateescape"), "--change")
        if len(document.lines) != 1:
            raise Invalid(f"--change {text!r} is not one instruction", hint='for example --change "ENV DEBUG=1"')
        found = parsers.parse(document.lines[0], document.escape)
        if not isinstance(found, KINDS):
            known = " ".join(kind.__name__.upper() for kind in KINDS)
            raise Invalid(f"{text.split()[0].upper()} is not a valid change command", hint=f"valid are {known}")
        had_path = had_path or (isinstance(found, instructions.Env) and any(name == "PATH" for name, _ in found.pairs))
        apply(state, found, ())
    done = state.final_config()
    # A stage of a build always has a PATH; an image need not.
    return done if had_path else done._replace(env=tuple(e for e in done.env if not e.startswith("PATH=")))
