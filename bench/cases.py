"""What is measured: each case is a name, a unit, and how an engine is made ready for it."""

import itertools
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from bench import contents
from bench.engines import Engine
from bench.errors import BenchError, CaseFailed, NotOffered
from bench.processes import in_container, resident
from bench.rounds import Measure
from bench.site import LARGE, LAYERS, Site

_PROJECT, _BUILT = "bench-project", "bench-built"
_CROWD, _ID = 100, 64


class Trial(NamedTuple):
    """How an engine does a case: ``before`` prepares each time, ``command`` is measured, ``check`` gets its output."""

    command: Sequence[str]
    check: Callable[[str], None] = lambda output: None
    before: Callable[[], None] = lambda: None


class Case(NamedTuple):
    """``title`` is for people, ``unit`` is "ms" or "MB", ``runs`` how often it is measured unless somebody asks."""

    name: str
    title: str
    unit: str
    runs: int
    prepare: Callable[[Site, Engine], Measure]
    warm_up: int = 1


Plan = Callable[[Site, Engine], Trial]


def timed(plan: Plan) -> Callable[[Site, Engine], Measure]:
    """Measures how long the command takes until it returns, in milliseconds."""

    def prepare(site: Site, engine: Engine) -> Measure:
        trial = plan(site, engine)

        def measure() -> float:
            trial.before()
            outcome = site.processes.check(trial.command, engine.environment)
            site.processes.settle()
            trial.check(outcome.output)
            return outcome.seconds * 1e3

        return measure

    return prepare


def weighed(plan: Plan, which: Literal["largest", "together"]) -> Callable[[Site, Engine], Measure]:
    """Measures what the command and its helpers take of memory at their peak, in megabytes."""

    def prepare(site: Site, engine: Engine) -> Measure:
        trial = plan(site, engine)

        def measure() -> float:
            trial.before()
            footprint = site.processes.footprint(trial.command, engine.environment, site.servers(engine))
            trial.check(footprint.output)
            return footprint.largest if which == "largest" else footprint.together

        return measure

    return prepare


def needs(engine: Engine, ability: str) -> None:
    """Raises NotOffered if an engine has no such operation."""
    if ability not in engine.offers:
        raise NotOffered


def start(site: Site, engine: Engine) -> Trial:
    needs(engine, "version")
    return Trial(engine.words(*engine.version))


def run(site: Site, engine: Engine, network: str, *command: str) -> Trial:
    if "bundle" in engine.offers and network == "none" and command == ("true",):
        return Trial(engine.words("--cgroup-manager=cgroupfs", "run", "--bundle", str(site.bundle()), "bench"))
    needs(engine, "run")
    site.pull(engine, site.tiny)
    options = ("run", "--rm", f"--network={network}", *engine.run_flags, site.tiny)
    _prove(site, engine, network, options)
    return Trial(engine.words(*options, *command))


def _prove(site: Site, engine: Engine, network: str, options: Sequence[str]) -> None:
    """That the container is one, has the network that it should have, and that its exit code is told."""
    script = 'echo "process $$"; ip -o -4 address show; exit 7'
    outcome = site.processes.run(engine.words(*options, "sh", "-c", script), engine.environment)
    site.processes.settle()
    connected = " eth0 " in outcome.output
    if outcome.code != 7 or "process 1\n" not in outcome.output or connected != (network == "bridge"):
        raise CaseFailed(f"a container with network {network}: exit code {outcome.code}: {outcome.output.strip()}")


def execute(site: Site, engine: Engine) -> Trial:
    needs(engine, "exec")
    site.run_container(engine)
    return Trial(engine.words("exec", "bench", "true"))


def list_containers(site: Site, engine: Engine) -> Trial:
    needs(engine, "ps")
    site.run_container(engine)

    def check(output: str) -> None:
        if "bench" not in output:
            raise CaseFailed(f"{engine.name} ps does not show the container: {output.strip()}")

    return Trial(engine.words("ps"), check)


def rebuild(site: Site, engine: Engine, *, changed: bool) -> Trial:
    needs(engine, "build")
    site.pull(engine, site.tiny)
    context = site.project()
    command = engine.words(*engine.build_verb, "-t", _PROJECT, str(context))
    known = {site.processes.check(command, engine.environment).output.strip()}
    numbers = itertools.count(1)

    def change() -> None:
        if changed:
            (context / "app.py").write_text(f'print("{engine.name} {next(numbers)}")\n')

    def check(image: str) -> None:
        if (image.strip() in known) == changed:
            raise CaseFailed(f"{engine.name} {'missed' if changed else 'saw'} a change: {image.strip()}")
        known.add(image.strip())

    return Trial(command, check, change)


def build(site: Site, engine: Engine, context: Callable[[Site], Path] = Site.large_context) -> Trial:
    needs(engine, "build")
    directory = context(site)
    engine, forget = _disposable(site, engine)
    command = engine.words(*engine.build_verb, "--no-cache", "-t", _BUILT, str(directory))

    def check(_output: str) -> None:
        if not site.has(engine, _BUILT):
            raise CaseFailed(f"{engine.name} has no image after the build")

    return Trial(command, check, forget)


def _disposable(site: Site, engine: Engine) -> tuple[Engine, Callable[[], None]]:
    """An engine, and how to make it forget a build together with its cache."""
    store = site.memory / "disposable"
    if engine.name == "sampan":
        engine = engine._replace(command=(engine.command[0], "--root", str(store)))

    def forget() -> None:
        if engine.name == "sampan":
            shutil.rmtree(store, ignore_errors=True)
        site.pull(engine, site.tiny)
        site.forget(engine, _BUILT)
        if engine.name == "docker":
            site.do(engine, "builder", "prune", "-af")

    return engine, forget


def push(site: Site, engine: Engine) -> Trial:
    if "copy" in engine.offers:
        site.offer_large()
        layout = site.memory / "layout"
        _copy_in(site, engine, layout)
        command = engine.words("copy", "-q", f"oci:{layout}:1", f"docker://{site.outgoing}")
    else:
        needs(engine, "push")
        site.pull(engine, site.large)
        site.do(engine, "tag", site.large, site.outgoing)
        command = engine.words("push", "-q", site.outgoing)
    return Trial(command, lambda _: site.target.check_image(LARGE, "1", LAYERS), site.target.empty)


def _copy_in(site: Site, engine: Engine, layout: Path) -> None:
    if not layout.exists():
        site.do(engine, "copy", "-q", f"docker://{site.large}", f"oci:{layout}:1")


def pull(site: Site, engine: Engine) -> Trial:
    if "copy" in engine.offers:
        return _copy(site, engine)
    needs(engine, "pull")
    site.pull(engine, site.large)
    if "run" in engine.offers:
        _count_files(site, engine)

    def check(_output: str) -> None:
        if not site.has(engine, site.large):
            raise CaseFailed(f"{engine.name} has no image after the pull")

    forget = partial(site.forget, engine, site.outgoing, site.large)
    return Trial(engine.words("pull", "-q", site.large), check, forget)


def _copy(site: Site, engine: Engine) -> Trial:
    site.offer_large()
    layout = site.memory / "layout-new"

    def check(_output: str) -> None:
        if not (layout / "index.json").exists():
            raise CaseFailed(f"there is no {layout} after the copy")

    command = engine.words("copy", "-q", f"docker://{site.large}", f"oci:{layout}:1")
    return Trial(command, check, lambda: shutil.rmtree(layout, ignore_errors=True))


def save(site: Site, engine: Engine) -> Trial:
    needs(engine, "save")
    site.pull(engine, site.large)
    archive = site.memory / f"{engine.name}.tar"

    def check(_output: str) -> None:
        if archive.stat().st_size < site.size.megabytes * 200_000:
            raise CaseFailed(f"{engine.name} saved {archive.stat().st_size} bytes of {site.size.megabytes} MB")

    forget = partial(archive.unlink, missing_ok=True)
    return Trial(engine.words("save", "-o", str(archive), site.large), check, forget)


def load(site: Site, engine: Engine) -> Trial:
    """Each engine loads what it saved itself."""
    needs(engine, "load")
    site.pull(engine, site.large)
    archive = site.memory / f"{engine.name}-again.tar"
    archive.unlink(missing_ok=True)
    site.do(engine, "save", "-o", str(archive), site.large)

    def check(_output: str) -> None:
        if not site.has(engine, site.large):
            raise CaseFailed(f"{engine.name} has no image after the load")

    forget = partial(site.forget, engine, site.outgoing, site.large)
    return Trial(engine.words("load", "-i", str(archive)), check, forget)


def list_images(site: Site, engine: Engine, count: int) -> Trial:
    needs(engine, "images")
    if engine.name == "sampan":
        engine = engine._replace(command=(engine.command[0], "--root", str(site.memory / f"images-{count}")))
    site.do(engine, "load", "-i", str(site.many_images(count)))

    def check(output: str) -> None:
        if output.count(contents.MANY) < count:
            raise CaseFailed(f"{engine.name} lists {output.count(contents.MANY)} of {count} images")

    return Trial(engine.words("images"), check)


def _count_files(site: Site, engine: Engine) -> None:
    script = "find /base /application -type f | wc -l"
    options = ("--rm", "--network=none", *engine.run_flags)
    found = site.do(engine, "run", *options, site.large, "sh", "-c", script).strip()
    if found != str(site.size.files):
        raise CaseFailed(f"{engine.name} has {found} files of {site.size.files} in the image that it pulled")


def resident_beside_container(site: Site, engine: Engine) -> Measure:
    """What stays in memory for one running container, besides its own processes: a monitor, a shim."""
    needs(engine, "run")

    def measure() -> float:
        site.processes.settle()
        started = site.start_container(engine, "bench-resident")
        time.sleep(1)
        megabytes = sum(resident(pid) for pid in started if not in_container(pid))
        site.do(engine, "rm", "-f", "bench-resident")
        return megabytes

    return measure


def crowd(site: Site, engine: Engine, *, measured: Literal["start", "stop"]) -> Measure:
    """How long a hundred containers take until all run that are started at once, and until one command stopped them."""
    needs(engine, "run")
    site.pull(engine, site.tiny)
    program = ("sh", "-c", 'trap "exit 0" TERM; sleep 3600 & wait')
    one = shlex.join(engine.words("run", "-d", "--network=none", *engine.run_flags, site.tiny, *program))
    script = (
        f'for i in $(seq {_CROWD}); do {one} & all="$all $!"; done; for each in $all; do wait $each || exit 1; done'
    )

    def measure() -> float:
        site.processes.settle()
        started = site.processes.check(("/bin/sh", "-c", script), engine.environment)
        site.processes.keep()
        crowd = [line for line in started.output.splitlines() if len(line) == _ID]
        if len(crowd) != _CROWD:
            raise CaseFailed(f"{engine.name} started {len(crowd)} of {_CROWD} containers: {started.output.strip()}")
        stopped = site.processes.check(engine.words("stop", *crowd), engine.environment)
        site.do(engine, "rm", "-f", *crowd)
        return (started if measured == "start" else stopped).seconds * 1e3

    return measure


def resident_engine(site: Site, engine: Engine) -> Measure:
    """What stays in memory with no container running."""
    needs(engine, "run")
    return lambda: float(sum(map(resident, site.servers(engine))))


def _run_and_sleep(site: Site, engine: Engine) -> Trial:
    return run(site, engine, "none", "sleep", "0.3")


def _with(network: str) -> Plan:
    return lambda site, engine: run(site, engine, network, "true")


_build_many = partial(build, context=Site.many_files)
_build_stages = partial(build, context=Site.stages)
_build_file = partial(build, context=Site.large_file)

CASES = (
    Case("start", "`--version`; python: `-I -S -c pass`", "ms", 20, timed(start)),
    Case("resident-container", "resident beside a running container", "MB", 3, resident_beside_container),
    Case("resident-engine", "resident with no container", "MB", 1, resident_engine, 0),
    Case("run-none", "`run --rm --network none IMAGE true`", "ms", 20, timed(_with("none"))),
    Case("run-bridge", "`run --rm IMAGE true`, bridge", "ms", 20, timed(_with("bridge"))),
    Case("exec", "`exec CONTAINER true`", "ms", 20, timed(execute)),
    Case("ps", "`ps`, one container", "ms", 20, timed(list_containers)),
    Case("rebuild-same", "rebuild of 2,000 files, nothing changed", "ms", 10, timed(partial(rebuild, changed=False))),
    Case("rebuild-changed", "rebuild of 2,000 files, one changed", "ms", 10, timed(partial(rebuild, changed=True))),
    Case("crowd-start", "a hundred `run -d` at once", "ms", 3, partial(crowd, measured="start")),
    Case("crowd-stop", "one `stop` of a hundred", "ms", 3, partial(crowd, measured="stop")),
    Case("build", "build of the large image, no cache", "ms", 3, timed(build)),
    Case("build-many", "build that copies 20,000 files, 500 MB, no cache", "ms", 3, timed(_build_many)),
    Case("build-stages", "build of ten independent stages, a RUN each, no cache", "ms", 5, timed(_build_stages)),
    Case("push", "push of the large image", "ms", 5, timed(push)),
    Case("pull", "pull of the large image", "ms", 5, timed(pull)),
    Case("save", "save of the large image", "ms", 5, timed(save)),
    Case("load", "load of what it saved", "ms", 5, timed(load)),
    Case("memory-run", "peak of `run`, largest process", "MB", 3, weighed(_run_and_sleep, "largest")),
    Case("memory-run-all", "peak of `run`, all processes", "MB", 3, weighed(_run_and_sleep, "together")),
    Case("memory-build", "peak of the build, largest process", "MB", 1, weighed(build, "largest"), 0),
    Case("memory-build-all", "peak of the build, all processes", "MB", 1, weighed(build, "together"), 0),
    Case(
        "memory-file", "peak of a build with a 2 GB file, largest process", "MB", 1, weighed(_build_file, "largest"), 0
    ),
    Case("memory-file-all", "the same, all processes", "MB", 1, weighed(_build_file, "together"), 0),
    Case("memory-push", "peak of the push, largest process", "MB", 1, weighed(push, "largest"), 0),
    Case("memory-push-all", "peak of the push, all processes", "MB", 1, weighed(push, "together"), 0),
    Case("memory-pull", "peak of the pull, largest process", "MB", 1, weighed(pull, "largest"), 0),
    Case("memory-pull-all", "peak of the pull, all processes", "MB", 1, weighed(pull, "together"), 0),
    Case("images-10", "`images`, ten of them", "ms", 20, timed(partial(list_images, count=10))),
    Case("images-1000", "`images`, a thousand of them", "ms", 20, timed(partial(list_images, count=1000))),
)


def chosen(names: Sequence[str]) -> list[Case]:
    """The cases of these names, in the order in which they are measured; all without names. Raises BenchError."""
    known = {case.name for case in CASES}
    for name in names:
        if name not in known:
            raise BenchError(f"there is no case {name!r} (there are {', '.join(sorted(known))})")
    return [case for case in CASES if not names or case.name in names]
