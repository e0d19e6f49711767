"""The plan of the house, held against the source: who may import whom, and a few things that nobody may do."""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "sampan"
STORES = "oci linux store snapshots networks volumes events paths"
FOR_ALL = ("errors", "values", "plainjson")
ALLOWED = {  # room → the rooms that it may import, besides those that are for all
    "errors": "",
    "events": "",
    "values": "",
    "plainjson": "",
    "oci": "",
    "linux": "",
    "paths": "",
    "settings": "paths",
    "store": "oci linux events paths",
    "layers": "oci linux",
    "runtime": "oci linux",
    "archives": "oci linux layers store",
    "depot": "oci linux archives store",
    "registry": "oci layers store events",
    "networks": "linux store paths",
    "volumes": "store paths",
    "snapshots": "oci linux layers store events",
    "containers": f"{STORES} layers runtime",
    "build": f"{STORES} archives layers registry runtime",
    "engine": f"{STORES} settings registry containers",
    "pack": "oci build",
    "bases": "oci layers store",
    "cluster": "oci containers",
    "api": f"{STORES} archives engine registry containers build layers runtime settings pack bases",
    "cli": "*",
    "dashboard": "",
}
RUNTIME_DOORS = {"launch", "defaults", "handshake"}
RUNTIME_INSIDERS = {
    ("containers.monitor", "runtime.parent"),  # the monitor is the runtime's parent process
    ("containers.watch", "runtime.parent"),  # and holds its process
    ("containers.monitor", "runtime.foreign"),  # or has another one make it
    ("containers.lifecycle", "runtime.foreign"),  # finds that one
    ("cli.creation", "runtime.foreign"),
    ("containers.executions", "runtime.foreign"),
    ("containers.executions", "runtime.enter"),  # and makes further ones
    ("containers.executions", "runtime.init"),
    ("containers.executions", "runtime.parent"),
    ("containers.executions", "runtime.pretence"),
    ("containers.monitor", "runtime.cgroups.delegation"),  # it lives in the group in which it makes the container's
    ("containers.orphans", "runtime.cgroups.container"),  # takes away what a killed monitor left
    ("cli.runtime", "runtime.command"),  # is a runtime itself: no engine takes part
    ("cli.runtime", "runtime.state"),
    ("cli.runtime", "runtime.bundle"),
    ("cli.bundles", "runtime.command"),
    ("cli.bundles", "runtime.state"),
    ("cli.bundles", "runtime.features"),
    ("cli.bundles", "runtime.usage"),
    ("cli.bundles", "runtime.bundle"),
    ("cli.bundles", "runtime.cgroups.container"),
    ("containers.change", "runtime.cgroups.container"),  # sets other limits there
    ("containers.resources", "runtime.cgroups.container"),  # looks at the cgroup that the runtime made, and freezes it
}
FRONT_DOOR = ("cli.main", "cli.commands", "cli.context", "cli.flags")
FOREIGN_NAMES = (
    "archives",
    "layers",
    "build.copy",
    "build.destination",
    "build.unpack",
    "build.source",
    "snapshots.contents",
    "snapshots.copyout",
    "snapshots.lookup",
    "snapshots.users",
    "snapshots.verify",
    "containers.copy",
    "containers.differences",
)
"""Where names come from images, layers or build contexts: the kernel gets them with a descriptor, or not at all."""
PATH_CALLS = frozenset(
    "open mkdir symlink link unlink rmdir rename replace stat lstat chmod lchown chown mknod mkfifo utime readlink "
    "listdir scandir walk makedirs setxattr getxattr listxattr removexattr truncate remove removedirs access".split()
)
SHAPELESS = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}


class Import(NamedTuple):
    """``module`` ("oci.digest", without the package's name) imports ``target`` in its line ``line``."""

    module: str
    target: str
    line: int
    on_load: bool

    @property
    def where(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(), str(path))
    return found


def imports(module: str, tree: ast.Module, known: set[str]) -> list[Import]:
    """What the module imports of ours, wherever in its text; ``on_load`` tells what loading it imports."""
    loaded = set(_executed_on_load(tree))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}:{node.lineno}: write imports in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "sampan":
                target = name.partition(".")[2]
                while target and target not in known:
                    target = target.rpartition(".")[0]
                found.append(Import(module, target, node.lineno, node in loaded))
    return found


def _executed_on_load(tree: ast.Module) -> list[ast.stmt]:
    pending: list[ast.stmt] = list(tree.body)
    found = []
    while pending:
        statement = pending.pop()
        found.append(statement)
        if isinstance(statement, ast.If) and ast.unparse(statement.test) != "TYPE_CHECKING":
            pending += statement.body + statement.orelse
        elif isinstance(statement, ast.Try):
            pending += statement.body
    return found


MODULES = modules()
IMPORTS = [each for name, tree in MODULES.items() for each in imports(name, tree, set(MODULES))]


def room(module: str) -> str:
    return module.partition(".")[0]


def forbidden(each: Import) -> bool:
    mine, theirs = room(each.module), room(each.target)
    if mine in ("", "__main__") or theirs in ("", *FOR_ALL, mine):
        return False  # the package itself holds the version and opens the rooms lazily
    if theirs == "runtime" and each.target.partition(".")[2] not in RUNTIME_DOORS:
        return (each.module, each.target) not in RUNTIME_INSIDERS
    return ALLOWED[mine] != "*" and theirs not in ALLOWED[mine].split()


def test_the_source_is_read() -> None:
    assert ("oci.descriptor", "oci.digest", True) in {(each.module, each.target, each.on_load) for each in IMPORTS}
    assert ("engine", "store.blobs", False) in {(each.module, each.target, each.on_load) for each in IMPORTS}


def test_every_room_is_in_the_plan() -> None:
    assert {room(module) for module in MODULES} <= {*ALLOWED, "", "__main__"}


def test_the_plan_has_no_circles() -> None:
    left = {name: {other for other in rooms.split() if other != "*"} for name, rooms in ALLOWED.items()}
    while left:
        ground = {name for name, rooms in left.items() if not rooms & left.keys()}
        assert ground, f"a circle among {sorted(left)}"
        left = {name: rooms for name, rooms in left.items() if name not in ground}


def test_rooms_import_only_what_lies_below() -> None:
    assert [each.where for each in IMPORTS if forbidden(each)] == []


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("oci.digest", "store.blobs"),
        ("store.blobs", "registry.client"),
        ("containers.lifecycle", "build.graph"),
        ("containers.lifecycle", "runtime.parent"),
        ("cli.run", "runtime.init"),
        ("api.server", "cli.output"),
        ("dashboard.app", "oci.digest"),
    ],
)
def test_other_arrows_would_be_found(module: str, target: str) -> None:
    assert forbidden(Import(module, target, 1, True))


def test_the_runtime_knows_no_specification_but_its_own() -> None:
    wrong = [each.where for each in IMPORTS if room(each.module) == "runtime" and room(each.target) == "oci"]
    assert [where for where in wrong if not where.endswith("oci.spec")] == []


def test_the_front_door_loads_nothing_of_ours_but_errors() -> None:
    loaded = [each for each in IMPORTS if each.module in FRONT_DOOR and each.on_load]
    assert loaded
    assert [each.where for each in loaded if each.target != "errors" and each.target not in ("cli", *FRONT_DOOR)] == []


def test_packages_are_empty() -> None:
    full = [path for path in SOURCE.rglob("__init__.py") if path.parent != SOURCE and path.read_text().strip()]
    assert full == []


def test_every_name_has_a_subject() -> None:
    parts = {module: set(module.split(".")) & SHAPELESS for module in MODULES if module != "cli.base"}  # a verb
    assert {module: found for module, found in parts.items() if found} == {}
    classes = [node.name for tree in MODULES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert [name for name in classes if name.endswith(("Manager", "Helper", "Utils", "Mixin"))] == []


def test_archives_are_not_extracted_by_the_standard_library() -> None:
    wrong = [
        f"{module}:{node.lineno} {ast.unparse(node.func)}"
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("extract", "extractall", "unpack_archive")
    ]
    assert wrong == []


def test_nothing_runs_between_fork_and_exec() -> None:
    names = [keyword.arg for tree in MODULES.values() for keyword in ast.walk(tree) if isinstance(keyword, ast.keyword)]
    assert "preexec_fn" not in names


def by_path(tree: ast.Module) -> list[str]:
    """Calls that hand the kernel a path which is neither below a descriptor nor a text that stands in the source."""
    found = []
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        descriptors = _descriptors(function)
        for call in [node for node in ast.walk(function) if isinstance(node, ast.Call)]:
            if _takes_path(call) and not _is_safe(call, descriptors):
                found.append(f"{call.lineno}: {ast.unparse(call)}")
    return found


def _descriptors(function: ast.FunctionDef) -> set[str]:
    """Names that hold descriptors: arguments that are numbers, and what a function that opens has given."""
    arguments = (*function.args.args, *function.args.kwonlyargs)
    found = {each.arg for each in arguments if each.annotation and ast.unparse(each.annotation).startswith("int")}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            opener = ast.unparse(node.value.func).rpartition(".")[2]
            if opener.lstrip("_").startswith(("open", "dup", "reopen")):
                found |= {ast.unparse(target) for target in node.targets}
    return found


def _takes_path(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    return name == "open" or name == "os.path.join" or (name.startswith("os.") and name[3:] in PATH_CALLS)


def _is_safe(call: ast.Call, descriptors: set[str]) -> bool:
    if {keyword.arg for keyword in call.keywords} & {"dir_fd", "src_dir_fd", "dst_dir_fd"}:
        return True
    target = call.args[0]
    if isinstance(target, ast.Call):
        return ast.unparse(target.func).rpartition(".")[2].startswith("open")
    text = ast.unparse(target)
    return isinstance(target, ast.Constant) or text.startswith("f'/proc/self/fd/") or text in descriptors


def test_foreign_names_are_never_joined_to_a_root() -> None:
    watched = {
        name: tree for name, tree in MODULES.items() if f"{name}.".startswith(tuple(f"{n}." for n in FOREIGN_NAMES))
    }
    assert watched
    assert {name: calls for name, tree in watched.items() if (calls := by_path(tree))} == {}


@pytest.mark.parametrize(
    "line",
    ["os.mkdir(root + name)", "open(f'{root}/{name}')", "os.path.join(root, name)", "os.chown(name, 0, 0)"],
)
def test_a_joined_path_would_be_found(line: str) -> None:
    assert by_path(ast.parse(f"def apply(root: str, name: bytes) -> None:\n    {line}\n"))


@pytest.mark.parametrize(
    "line",
    [
        "os.mkdir(name, dir_fd=fd)",
        "os.chmod(f'/proc/self/fd/{fd}', 0o755)",
        "os.utime(fd)",
        "open('/proc/self/uid_map')",
    ],
)
def test_descriptors_are_fine(line: str) -> None:
    assert not by_path(ast.parse(f"def apply(fd: int, name: bytes) -> None:\n    {line}\n"))


def test_the_plan_names_every_module() -> None:
    plan = (SOURCE.parents[1] / "docs" / "design.md").read_text()
    rooms = plan[plan.index("## 2. Rooms") : plan.index("### Who may import")]
    named = set(re.findall(r"\w+", rooms))
    modules = {name.split(".")[-1] for name in MODULES if name and not name.startswith("cli.")}
    assert modules - named == set()
