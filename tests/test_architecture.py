"""The directions in which the package's modules may import one another, and who may do what."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import kimifix

FLOORS = ("kimifix.client", "kimifix.server", "kimifix.config")
VERBS = ("kimifix.apply", "kimifix.revert", "kimifix.doctor")
PRINTED = ("kimifix.terminal", "kimifix.language", "kimifix.catalogue")
TOP = (*PRINTED, "kimifix.help", "kimifix.cli", "kimifix.output", "kimifix.__main__")
# What a floor may use besides itself; these know nothing of kimi-code.
FOUNDATION = ("kimifix.errors", "kimifix.reader", "kimifix.secret", "kimifix.words")
# Who may import a third-party package.
THIRD_PARTY = {
    "certifi": ("kimifix.server.transport",),
    "click": ("kimifix.cli", "kimifix.help", "kimifix.output", "kimifix.terminal"),
    "tomlkit": ("kimifix.config.edit",),
    "platformdirs": ("kimifix.config.storage",),
}
# The standard library's ways to a network; asking for them is the affair of a module that
# its own importers load lazily.
NETWORK = ("asyncio", "http", "socket", "socketserver", "ssl", "urllib.request")
LONGEST_MODULE_LINES = 480

Modules = Mapping[str, str]


@dataclass(frozen=True)
class Import:
    """One import: who, what, where; whether it runs with its module, and only for types."""

    importer: str
    target: str
    line: int
    lazy: bool
    for_types: bool


def modules_of(folder: Path) -> Modules:
    """Return the source of every module of the package in ``folder`` by its dotted name."""
    sources = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        sources[name] = path.read_text(encoding="utf-8")
    return sources


def imports_of(name: str, modules: Modules) -> Iterator[Import]:
    """Yield every import of a module, those in functions included."""
    tree = ast.parse(modules[name])
    yield from _imports_in(tree, name, modules, lazy=False, for_types=False)


def _imports_in(
    node: ast.AST, name: str, modules: Modules, *, lazy: bool, for_types: bool
) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(name, alias.name, child.lineno, lazy, for_types)
        elif isinstance(child, ast.ImportFrom):
            base = "." * child.level + (child.module or "")
            for alias in child.names:
                submodule = f"{base}.{alias.name}"
                is_module = submodule in modules or submodule in NETWORK
                target = submodule if is_module else base
                yield Import(name, target, child.lineno, lazy, for_types)
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            for statement in child.body:
                wrapper = ast.Module([statement], [])
                yield from _imports_in(wrapper, name, modules, lazy=lazy, for_types=True)
            for statement in child.orelse:
                wrapper = ast.Module([statement], [])
                yield from _imports_in(wrapper, name, modules, lazy=lazy, for_types=for_types)
        else:
            deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports_in(child, name, modules, lazy=lazy or deferred, for_types=for_types)


def _is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def _all_imports(modules: Modules) -> Iterator[Import]:
    for name in modules:
        yield from imports_of(name, modules)


def _within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def floors_stand_alone(modules: Modules) -> Iterator[str]:
    """A floor imports itself and the foundation, and neither neighbour."""
    for found in _all_imports(modules):
        floor = next((floor for floor in FLOORS if _within(found.importer, (floor,))), None)
        ours = _within(found.target, ("kimifix",))
        if floor and ours and not _within(found.target, (floor, *FOUNDATION)):
            yield _told(found)


def foundation_rests_on_nothing(modules: Modules) -> Iterator[str]:
    """Errors, secrets and words import nothing of ours."""
    for found in _all_imports(modules):
        if found.importer in FOUNDATION and found.target.startswith("kimifix"):
            yield _told(found)


def nothing_looks_up(modules: Modules) -> Iterator[str]:
    """Only the command line imports a verb or the output; the output may name a verb's types.

    What is said is translated where it is printed, and nowhere below.
    """
    for found in _all_imports(modules):
        knows_types = found.importer == "kimifix.output" and found.for_types
        may = found.importer in ("kimifix.cli", "kimifix.__main__") or knows_types
        may = may or (found.importer in TOP and found.target in PRINTED)
        verb = next((verb for verb in VERBS if _within(found.target, (verb,))), None)
        of_another = verb is not None and not _within(found.importer, (verb,))
        if (of_another or found.target in TOP) and not may:
            yield _told(found)


def third_parties_have_one_door(modules: Modules) -> Iterator[str]:
    """A package from outside is imported where it belongs, and no other package is."""
    for found in _all_imports(modules):
        package = found.target.partition(".")[0]
        if package in sys.stdlib_module_names or package in ("kimifix", "__future__"):
            continue
        if found.for_types and package == "_typeshed":  # exists for type checkers alone
            continue
        if found.importer not in THIRD_PARTY.get(package, ()):
            yield _told(found)


def network_is_loaded_lazily(modules: Modules) -> Iterator[str]:
    """A module that imports network code with itself is only imported inside functions."""
    eager = [found for found in _all_imports(modules) if not (found.lazy or found.for_types)]
    networked = {f.importer for f in eager if _within(f.target, NETWORK)}
    while more := {f.importer for f in eager if f.target in networked} - networked:
        networked |= more
    always_there = ("kimifix.cli", "kimifix.output", *VERBS)
    yield from (f"{name} brings in network code" for name in sorted(networked & {*always_there}))


def imports_make_no_circle(modules: Modules) -> Iterator[str]:
    """No two modules need one another to be imported."""
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for found in _all_imports(modules):
        if not found.for_types and found.target in modules and found.target != "kimifix":
            graph[found.importer].add(found.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield " -> ".join(error.args[1])


def imports_can_be_read(modules: Modules) -> Iterator[str]:
    """No import is relative or computed, so that the other rules see all of them."""
    for found in _all_imports(modules):
        if found.target.startswith("."):
            yield _told(found)
    for name, call in _calls(modules):
        if _name_of(call.func) in ("__import__", "import_module", "importlib.import_module"):
            yield f"{name}:{call.lineno} imports by a computed name"


def environment_has_one_reader(modules: Modules) -> Iterator[str]:
    """Only the home looks at the process environment, and the language, which help needs alone."""
    names = ("environ", "environb", "getenv", "getenvb", "expanduser", "expandvars")
    for name, node in _nodes(modules):
        if name in ("kimifix.client.home", "kimifix.language"):
            continue
        if isinstance(node, ast.Attribute) and (
            node.attr in names or _name_of(node) in ("Path.home", "pathlib.Path.home")
        ):
            yield f"{name}:{node.lineno} uses {_name_of(node) or node.attr}"
        if isinstance(node, ast.ImportFrom) and node.module in ("os", "os.path", "posixpath"):
            taken = [alias.name for alias in node.names if alias.name in names]
            yield from (f"{name}:{node.lineno} takes {one} from {node.module}" for one in taken)


def output_has_one_printer(modules: Modules) -> Iterator[str]:
    """All text leaves through `put` of the terminal, but a word of our own of click's."""
    for name, call in _calls(modules):
        if _name_of(call.func) in ("print", "pprint", "pprint.pprint"):
            yield f"{name}:{call.lineno} prints"
        writes = _name_of(call.func) in ("click.echo", "click.secho", "click.style")
        foreign = not (call.args and isinstance(call.args[0], ast.Constant))
        if writes and foreign and name != "kimifix.terminal":
            yield f"{name}:{call.lineno} writes past the terminal"
    streams = ("sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__")
    for name, node in _nodes(modules):
        if isinstance(node, ast.Attribute) and name not in ("kimifix.output", *PRINTED):
            touched = [stream for stream in streams if stream == _name_of(node)]
            yield from (f"{name}:{node.lineno} touches {stream}" for stream in touched)


def tuples_are_nothing_but_tuples(modules: Modules) -> Iterator[str]:
    """What reaches JSON is chosen by name: nothing turns a named tuple into a dictionary."""
    for name, node in _nodes(modules):
        if isinstance(node, ast.Attribute) and node.attr == "_asdict":
            yield f"{name}:{node.lineno} uses {node.attr}"


def patterns_match_alike_everywhere(modules: Modules) -> Iterator[str]:
    """No possessive or atomic group, which CPython before 3.11.5 matches wrongly."""
    for name, node in _nodes(modules):
        is_named = isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        is_used = isinstance(node, ast.Call) and _name_of(node.func).startswith("re.")
        constants = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
        for text in constants if is_named or is_used else ():
            bare = re.sub(r"\\.|\[\^?\]?[^\]]*\]", "x", str(text))
            if re.search(r"[*+?}]\+|\(\?>", bare):
                yield f"{name} has the pattern {text!r}"


def modules_can_be_read_at_a_sitting(modules: Modules) -> Iterator[str]:
    """No module is longer than a reader can hold in mind."""
    for name, source in modules.items():
        lines = source.count("\n")
        if lines > LONGEST_MODULE_LINES:
            yield f"{name} has {lines} lines"


def _nodes(modules: Modules) -> Iterator[tuple[str, ast.AST]]:
    for name, source in modules.items():
        for node in ast.walk(ast.parse(source)):
            yield name, node


def _calls(modules: Modules) -> Iterator[tuple[str, ast.Call]]:
    for name, node in _nodes(modules):
        if isinstance(node, ast.Call):
            yield name, node


def _name_of(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def _told(found: Import) -> str:
    return f"{found.importer}:{found.line} imports {found.target}"


Rule = Callable[[Modules], Iterator[str]]

# Each rule with something that breaks it.
RULES: dict[Rule, Modules] = {
    floors_stand_alone: {
        "kimifix.client.home": "def f():\n    from kimifix.config import storage",
        "kimifix.config.storage": "",
    },
    foundation_rests_on_nothing: {"kimifix.errors": "from kimifix.secret import redact"},
    nothing_looks_up: {
        "kimifix.ask": "from kimifix.doctor import finding",
        "kimifix.doctor.finding": "",
    },
    third_parties_have_one_door: {"kimifix.config.patch": "import tomlkit"},
    network_is_loaded_lazily: {
        "kimifix.server.probe": "from urllib import request",
        "kimifix.server": "from kimifix.server.probe import ask",
        "kimifix.doctor": "from kimifix.server import ask",
    },
    imports_make_no_circle: {
        "kimifix.machine": "def f():\n    import kimifix.ask",
        "kimifix.ask": "import kimifix.machine",
    },
    imports_can_be_read: {"kimifix.doctor": "import importlib\nimportlib.import_module('click')"},
    environment_has_one_reader: {"kimifix.apply": "import os\nos.environ['HOME']"},
    output_has_one_printer: {"kimifix.apply": "print('applied')"},
    tuples_are_nothing_but_tuples: {"kimifix.output": "outcome._asdict()"},
    patterns_match_alike_everywhere: {"kimifix.words": 're.compile(r"[*+]+(?:a|b)*+")'},
    modules_can_be_read_at_a_sitting: {"kimifix.doctor.client": "\n" * (LONGEST_MODULE_LINES + 1)},
}


@pytest.fixture(scope="module")
def package() -> Modules:
    """The modules of the package under test."""
    return modules_of(Path(kimifix.__file__).parent)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_package_keeps_the_rule(rule: Rule, package: Modules) -> None:
    """The package breaks no rule of the house."""
    assert list(rule(package)) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_sees_its_breach(rule: Rule) -> None:
    """Each rule tells of the breach that is made for it, once."""
    assert len(list(rule(RULES[rule]))) == 1


def test_rules_look_at_the_whole_package(package: Modules) -> None:
    """The modules that the rules name exist, so that a renamed one does not slip through."""
    doors = {name for importers in THIRD_PARTY.values() for name in importers}
    assert {*FLOORS, *VERBS, *TOP, *FOUNDATION, *doors} <= package.keys()
