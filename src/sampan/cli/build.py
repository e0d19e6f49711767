"""``sampan build``: an image from a Dockerfile and its context."""

import os
import sys
from contextlib import suppress

from sampan.cli import buildargs, buildbases, buildinput, buildshow, buildwords
from sampan.cli.buildargs import EPOCH
from sampan.cli.buildinput import Input
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.build.graph import Graph
    from sampan.build.repeat import Outcome, Repeat
    from sampan.cli.source import Source
    from sampan.events import Report
    from sampan.oci.config import ImageConfig
    from sampan.oci.platform import Platform
    from sampan.store.images import Image

_SWITCH = 0.0001
"""Seconds after which a thread lets another go on: those that inflate and compress need Python in between only."""
_UNTOLD = frozenset(("attest", "builder", "compress", "iidfile", "progress", "provenance", "quiet", "sbom"))
"""Flags that an image does not depend on."""
_TOLD = frozenset(("add-host", "build-arg", "file", "label", "network", "package-cache", "tag", "target"))
"""Flags that an image depends on by what they say alone, not by what they name."""


def _advise(arguments: Parsed) -> str | None:
    """What ``build -t name.`` was probably meant to be."""
    if arguments.positionals:
        return None
    if arguments.text("why") and os.path.isdir(arguments.text("why") or ""):
        return f"--why takes a step: write --why all {arguments.text('why')}"
    for tag in arguments.texts("tag"):
        if tag.endswith(".") and len(tag) > 1:
            return f"write -t {tag[:-1]} . (the dot, the build context, is a word of its own)"
    return "name the directory to build from: . is this one"


COMMAND = Command(
    "[OPTIONS] PATH | URL | -",
    (
        Flag("--add-host list", "Add a custom host-to-IP mapping (name:ip), for the steps alone"),
        Flag("--allow list", "Allow a step what it may not otherwise have: network.host, security.insecure"),
        Flag("--annotation list", "Add annotation to the image ([index:|manifest:]KEY=VALUE)"),
        Flag("--attest list", "Attestation parameters: type=…,disabled=true, for images have none"),
        Flag("--build-arg list", "Set build-time variables"),
        Flag(
            "--build-context list", "Additional build contexts (e.g., name=docker-image://IMAGE, name=path, name=URL)"
        ),
        Flag("--builder string", "The builder: default is the only one"),
        Flag("--cache-from list", "External cache sources (e.g., user/app:cache, type=local,src=path/to/dir)"),
        Flag("--cache-to list", "Cache export destinations (e.g., type=registry,ref=user/app:cache,mode=max)"),
        Flag("--call string", "Set method for evaluating build: check, outline or targets (and ,format=json)", "build"),
        Flag("--check", "Do not build, say what is doubtful in the Dockerfile; the same as --call=check"),
        Flag("--compress", "Compress the build context on its way to a daemon: there is none"),
        Flag(
            "-f, --file string",
            'Name of the Dockerfile (default: "PATH/Dockerfile"); - is standard input, a URL fetched',
        ),
        Flag("--force-rm", "Always remove what steps ran in: there is no other way"),
        Flag("--host-pip", "Let RUN steps use this machine's pip settings and CA certificates; the image keeps none"),
        Flag("--iidfile string", "Write the image ID to a file"),
        Flag(
            "--isolation string",
            "How RUN is isolated: default, or chroot (hardly at all, for containers that forbid namespaces)",
            "default",
        ),
        Flag("--jobs int", "Steps that are performed at the same time", 4),
        Flag("--label list", "Set metadata for an image (name=value)"),
        Flag("--load", "Store the image, whatever other --output there is"),
        Flag("--metadata-file string", "Write the digests of the build result to a file"),
        Flag("--network string", "Networking mode for the RUN instructions: default, host or none", "default"),
        Flag("--no-cache", "Do not use cache when building the image"),
        Flag("--no-cache-filter list", "Do not cache specified stages (names, separated by commas)"),
        Flag(
            "-o, --output stringArray",
            "Output destination: a directory, or type=TYPE,dest=PATH (local, tar, oci, docker, image, registry)",
            repeat=True,
        ),
        Flag("--package-cache", "Show RUN steps what pip and uv have fetched before; no image holds it", True),
        Flag("--platform stringArray", "Set target platform for build; several make an index", repeat=True),
        Flag("--progress string", "Set type of progress output: auto, plain, tty, quiet, none or rawjson", "auto"),
        Flag("--provenance string", "false: images have no attestations"),
        Flag("--push", "Push the image to the registries of its names; the same as --output=type=registry"),
        Flag("--pull", "Always attempt to pull newer versions of the images that are built on"),
        Flag("-q, --quiet", "Suppress the build output and print image ID on success"),
        Flag("--rm", "Remove what steps ran in when the build has succeeded: there is no other way", True),
        Flag("--sbom string", "false: images have no attestations"),
        Flag("--secret list", "Secret to expose to the build (id=NAME,src=FILE or id=NAME,env=VARIABLE)"),
        Flag("--shm-size bytes", "Size of /dev/shm for the RUN instructions (default 64m)"),
        Flag("--squash", "Squash newly built layers into a single new layer"),
        Flag("--ssh list", "SSH agent to expose to the build (default or NAME=SOCKET)"),
        Flag("-t, --tag list", 'Name and optionally a tag in the "name:tag" format'),
        Flag("--target string", "Set the target build stage to build"),
        Flag("--ulimit list", "Ulimit options for the RUN instructions (NAME=SOFT[:HARD])"),
        Flag("--why string", "Do not build, say which input of a step changed: its number, some of its words, or all"),
    ),
    least=1,
    most=1,
    needs_userns=True,
    runs_nothing=True,
    later="--cgroup-parent --cpu-period --cpu-quota --cpu-shares -c --cpuset-cpus --cpuset-mems --memory -m "
    "--memory-swap --policy --security-opt",
    details="SOURCE_DATE_EPOCH (as --build-arg or in the environment) makes the image reproducible: it is the time of "
    "everything in it that would be later, and of what is copied from the build context.",
    examples=(
        ("sampan build -t hello .", "Build the Dockerfile in this directory"),
        (
            "sampan build -t hello --build-context python:latest=docker-image://localhost/python:host .",
            'Let "FROM python" mean an image that is here',
        ),
        ("sampan build -t hello https://example.com/app.git#main:backend", "A directory on a branch of a repository"),
        ("sampan build -o out .", "Only the files of the result, into a directory"),
        ("sampan build --platform linux/amd64,linux/arm64 -t registry.example/app --push .", "An index of two images"),
        ("sampan build -t hello -f docker/prod.Dockerfile --target test .", "Another file, and one of its stages"),
    ),
    advise=_advise,
)


def main(arguments: Parsed, context: Context) -> int:
    sys.setswitchinterval(_SWITCH)
    if arguments.on("check") or (arguments.text("call") or "build") != "build":
        return _answer("check" if arguments.on("check") else arguments.text("call") or "", arguments, context)
    if arguments.text("why") is not None:
        return _explain(arguments.text("why") or "all", arguments, context)
    buildwords.check_attestations(arguments)
    if not arguments.on("rm"):
        raise Unsupported("--rm=false is not supported", hint="sampan run IMAGE, of a step that failed, looks inside")
    iidfile = arguments.text("iidfile")
    if iidfile:  # an old id must not be taken for this build's if it fails
        with suppress(FileNotFoundError):
            os.unlink(iidfile)
    repeat = _repeat(arguments, context)
    outcome = repeat and repeat.recall()
    image_id = _retell(outcome, arguments, context) if outcome else _build(arguments, context, repeat)
    if iidfile:
        with open(iidfile, "w") as file:
            file.write(image_id)
    if context.quiet and image_id:
        context.print(image_id)
    return 0


def _input(arguments: Parsed, context: Context, build_args: dict[str, str]) -> Input:
    secrets, agents = buildwords.secrets(arguments.texts("secret")), buildwords.agents(arguments.texts("ssh"))
    return Input(arguments, context, build_args, secrets, agents)


def _answer(call: str, arguments: Parsed, context: Context) -> int:
    """What ``--call`` asks for, without building anything."""
    from sampan.cli import calls

    method, form = calls.method(call)
    build_args = buildargs.parse(arguments.texts("build-arg"))
    contexts = buildwords.contexts(arguments.texts("build-context"))
    with _input(arguments, context, build_args) as given:
        source = given.source()
        around = calls.surroundings(source, build_args, contexts, arguments.text("target"), context)
        return calls.answer(method, form, source, around, context)


def _explain(wanted: str, arguments: Parsed, context: Context) -> int:
    """What ``--why`` asks for, without building anything."""
    from sampan.build.perform import Build
    from sampan.build.reasons import Reasons
    from sampan.build.solve import distinct
    from sampan.build.state import Stores
    from sampan.cli import why
    from sampan.cli.delivery import platforms_of

    if arguments.on("no-cache") or arguments.texts("no-cache-filter"):
        raise Invalid("--why is about the cache, and --no-cache does without", hint="leave out one of them")
    build_args = buildargs.parse(arguments.texts("build-arg"))
    contexts, engine = buildwords.contexts(arguments.texts("build-context")), context.engine
    host = buildwords.host(arguments, engine, build_args)
    with engine.storing(), Input(arguments, context, build_args, host.secrets, host.agents) as given:
        source = given.source()
        epoch = buildwords.epoch(build_args, source.data, given.modified)
        platform = platforms_of(arguments.texts("platform"))[0]
        tell = buildshow.teller(context)
        graph, _ = _graph(arguments, context, source, given, build_args, contexts, platform, None, tell)
        steps = distinct(graph.target)
        reasons = Reasons(engine.database, _project(arguments, given), steps)
        stores = Stores(engine.database, engine.blobs, engine.snapshots)
        with Build(stores, host, tell, epoch=epoch, fresh=False) as work:
            why.tell(wanted, graph, buildshow.labels(steps), work, reasons, context)
    return 0


def _project(arguments: Parsed, given: Input) -> str:
    """What a build has in common with the one before: the context, the Dockerfile and the target."""
    return f"{given.place} {arguments.text('target') or ''}"


def _repeat(arguments: Parsed, context: Context) -> "Repeat | None":
    """The build as one that may have been done before; None where more counts than words and files of the context."""
    from sampan import __version__
    from sampan.build.repeat import Repeat

    path, told = arguments.positionals[0], [pair for pair in arguments.given() if pair[0] not in _UNTOLD]
    if not _TOLD.issuperset(name for name, _ in told) or buildinput.is_remote(path):
        return None
    if buildinput.is_remote(arguments.text("file") or ""):
        return None
    engine, build_args = context.engine, buildargs.parse(arguments.texts("build-arg"))
    words = (__version__, engine.rootless, told, sorted(build_args.items()), os.environ.get(EPOCH))
    try:
        root = os.path.abspath(path)
        dockerfile = buildinput.beside(arguments.text("file"), root)
        files = (dockerfile, f"{dockerfile}.dockerignore", ".dockerignore")
        return Repeat(engine.database, engine.blobs, root, words, files)
    except OSError:
        return None


def _retell(outcome: "Outcome", arguments: Parsed, context: Context) -> str:
    """Shows a build that was done before as what it is: one whose steps are all cached."""
    style = buildshow.style(arguments, context)
    if style != "quiet":
        from sampan import events

        with buildshow.display(style, outcome.labels) as display:
            for number in range(1, len(outcome.labels) + 1):
                display(events.StepStarted(number, len(outcome.labels), "", ""))
                display(events.StepCached(number))
            buildshow.note_result(display, outcome.image, outcome.names)
    buildshow.tell_findings(outcome.findings, style)
    return outcome.image


def _build(arguments: Parsed, context: Context, repeat: "Repeat | None") -> str:
    """Builds, and gives the id of the image, or of the index of several; none if there is none to be told."""
    from sampan.build.make import Wish, make, solved
    from sampan.build.state import Stores
    from sampan.cli.delivery import Wanted, deliver

    labelled = buildwords.labels(arguments.texts("label"))
    names = buildwords.names(arguments.texts("tag"))
    build_args = buildargs.parse(arguments.texts("build-arg"))
    wanted = Wanted(arguments, names, build_args)
    contexts = buildwords.contexts(arguments.texts("build-context"))
    caches = buildwords.caches(arguments, build_args)
    wish = Wish(None, arguments.on("no-cache"), (), buildwords.jobs(arguments), caches, command=_command(context))
    style = buildshow.style(arguments, context)
    engine = context.engine
    host = buildwords.host(arguments, engine, build_args)
    stores = Stores(engine.database, engine.blobs, engine.snapshots)
    with engine.storing(), Input(arguments, context, build_args, host.secrets, host.agents) as given:
        source = given.source()
        epoch = buildwords.epoch(build_args, source.data, given.modified)
        wish = wish._replace(epoch=epoch, project=_project(arguments, given))
        tell = buildshow.teller(context)
        translated = [
            _graph(arguments, context, source, given, build_args, contexts, platform, repeat, tell)
            for platform in wanted.platforms
        ]
        findings = repeat.known_findings() if repeat else None
        if findings is None:
            from sampan.cli import calls

            around = calls.surroundings(source, build_args, contexts, arguments.text("target"), context)
            findings = calls.findings_of_a_build(source, around)
        graphs = [_labelled(graph, labelled) for graph, _ in translated]
        called = buildshow.labels_of(graphs)
        if repeat:
            repeat.labels, repeat.findings = called, findings
        wish = wish._replace(fresh_stages=translated[0][1])
        with buildshow.display(style, called) as display:
            try:
                if wanted.is_plain:
                    known = None if context.warned else repeat
                    image = make(graphs[0], names, stores, engine.images, host, display, wish, repeat=known)
                    image_id: str = image.id
                    buildshow.note_result(display, image_id, [name.canonical() for name in names])
                else:
                    products = solved(graphs, stores, engine.images, host, display, wish)
                    image_id = deliver(products, wanted, stores, context, display.note, epoch)
            except BaseException:
                display.failed()
                raise
    buildshow.tell_findings(findings, style)
    return "" if wanted.writes_to_stdout else image_id


def _command(context: Context) -> str:
    """How this sampan was called, for hints that are pasted."""
    if not context.root:
        return "sampan"
    from shlex import quote

    return f"sampan --root {quote(os.path.abspath(context.root))}"


def _labelled(graph: "Graph", labels: dict[str, str]) -> "Graph":
    own = graph.config.config
    return graph._replace(config=graph.config._replace(config=own._replace(labels={**own.labels, **labels})))


def _stages(names: list[str], text: bytes) -> list[str]:
    """What steps call the stages that are meant by name or number."""
    if not names:
        return []
    from sampan.build.dockerfile import stages

    all_stages = stages.parse(text).stages
    found = [stages.target(all_stages, name.strip()) for each in names for name in each.split(",")]
    return [stage.label if len(all_stages) > 1 else "" for stage in found]


def _graph(
    arguments: Parsed,
    context: Context,
    source: "Source",
    given: Input,
    build_args: dict[str, str],
    contexts: dict[str, str],
    platform: "Platform",
    repeat: "Repeat | None",
    report: "Report",
) -> "tuple[Graph, list[str]]":
    """The graph, and the stages that are to be built anew."""
    from sampan.build.dockerfile.translate import translate
    from sampan.oci import reference as references

    def resolve(name: str, platform: "Platform") -> "tuple[Image, ImageConfig]":
        found = buildbases.resolve(name, platform, context, pull=arguments.on("pull"))
        if repeat:
            repeat.bases.append((references.parse(name).tagged().canonical(), found[0].id))
        return found

    assert source.files is not None
    graph = translate(
        source.data,
        filename=source.filename,
        context=source.files,
        resolve=resolve,
        platform=platform,
        build_args=build_args,
        target=arguments.text("target"),
        contexts=contexts,
        report=report,
        allowed=buildwords.allowed(arguments.texts("allow")),
        open_named=given.open_named,
        is_explicit=bool(arguments.texts("platform")),
    )
    return graph, _stages(arguments.texts("no-cache-filter"), source.data)
