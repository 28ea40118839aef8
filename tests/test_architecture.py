"""The house as docs/architecture.md draws it: floors, wings, no circles; and sections of parameters that only hold."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from support.parameters import ROOT

SOURCE = ROOT / "src"
# From the ground up. A module imports from its own package and from floors before its own; two packages on one floor
# know nothing of each other. `ground` is the package of the modules that lie beside the packages.
FLOORS = (
    ("ground",), ("params",), ("audio", "text"), ("listeners",), ("nn",), ("corpus",), ("training",), ("align",),
    ("evaluation",), ("vocoder",), ("pipeline",), ("report",), ("tasks",), ("onnx", "experiments"), ("cli",),
)
# What goes up all the same, and why.
UPWARDS: dict[tuple[str, str], str] = {}
GROUND = {"errors", "files", "destinations", "store", "tables", "names", "steps", "statistics", "randomness", "dtw",
          "parallel", "progress", "device", "terminal", "workspace", "yaml_files", "arrays", "weights", "interruption"}
FLOOR_OF = {package: number for number, floor in enumerate(FLOORS) for package in floor}


@cache
def modules() -> Mapping[str, Path]:
    """Files of all modules, by their dotted names; a package has the name of its folder."""
    files = sorted((SOURCE / "koe").rglob("*.py"))
    return {".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below, those inside functions too, but for what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield other
                yield from statements(other)
            continue
        yield child
        yield from statements(child)


@cache
def imports_of(module: str) -> frozenset[str]:
    """The modules of koe that a module imports anywhere in it."""
    found = set[str]()
    for node in statements(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{module}: imports by a relative name"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules() else node.module for name in inside}
    return frozenset(name for name in found if name.startswith("koe."))  # koe itself has the version alone


def package_of(module: str) -> str:
    """`koe.audio.mel` → `audio`, `koe.files` → `ground`."""
    name = module.split(".")[1]
    return "ground" if name in GROUND else name


def wing_of(module: str) -> str:
    """`koe.tasks.conversion.data` → `conversion`; empty outside of koe.tasks."""
    parts = module.split(".")
    return parts[2] if parts[1] == "tasks" and len(parts) > 2 else ""


def graph() -> dict[str, frozenset[str]]:
    return {module: imports_of(module) for module in modules() if module != "koe"}


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail("a circle: " + " ← ".join(error.args[1]))


def test_every_module_has_a_floor() -> None:
    assert {package_of(module) for module in graph()} == FLOOR_OF.keys()


def test_modules_import_from_their_own_package_and_from_floors_below() -> None:
    up = {(module, imported) for module, found in graph().items() for imported in found
          if package_of(imported) != package_of(module)
          and FLOOR_OF[package_of(imported)] >= FLOOR_OF[package_of(module)]}
    assert up == UPWARDS.keys(), "\n".join(f"{module} imports {imported}" for module, imported in sorted(up))


def test_pages_and_experiments_know_no_task_and_no_vocoder() -> None:
    """They draw and compare what a pipeline declares."""
    known = [f"{module} imports {imported}" for module, found in graph().items() for imported in sorted(found)
             if package_of(module) in ("report", "experiments", "pipeline")
             and package_of(imported) in ("tasks", "vocoder", "onnx")]
    assert not known, "\n".join(known)


def test_wings_do_not_import_each_other() -> None:
    across = [f"{module} imports {imported}" for module, found in graph().items() for imported in sorted(found)
              if wing_of(module) and wing_of(imported) and wing_of(module) != wing_of(imported)]
    assert not across, "\n".join(across)


def test_packages_are_empty_so_that_a_module_is_imported_with_what_it_names_alone() -> None:
    written = [file for name, file in modules().items() if file.name == "__init__.py" and name != "koe"]
    assert [file for file in written if file.read_text(encoding="utf-8").strip()] == []


# Sections of parameters ----------------------------------------------------------------------------------------------


# How sections and the files of stages are read, checked and dumped is written here, once.
BASES = {"Section", "Choice", "StageParameters", "StageFiles"}


@cache
def sections() -> Mapping[str, tuple[str, ast.ClassDef]]:
    """The classes that derive from BASES, by name, each with its module."""
    classes = [(module, node) for module in modules() for node in ast.walk(tree_of(module))
               if isinstance(node, ast.ClassDef) and node.name not in BASES]
    found: dict[str, tuple[str, ast.ClassDef]] = {}
    while derived := {node.name: (module, node) for module, node in classes if node.name not in found
                      and any(ast.unparse(base).rpartition(".")[2] in BASES | found.keys() for base in node.bases)}:
        found |= derived
    return found


VALIDATORS = {"field_validator", "model_validator", "field_serializer", "model_serializer"}


def decorators(function: ast.FunctionDef) -> set[str]:
    called = [each.func if isinstance(each, ast.Call) else each for each in function.decorator_list]
    return {ast.unparse(each).rpartition(".")[2] for each in called}


def gives_a_section(function: ast.FunctionDef) -> bool:
    """Whether it is annotated to return a section, or one of several."""
    named = ast.unparse(function.returns).split(" | ") if function.returns else [""]
    return all(name.strip("'\"") in sections() for name in named)


def holds_or_checks(statement: ast.stmt) -> bool:
    """What a section may consist of."""
    match statement:
        case ast.AnnAssign():  # a field, or a constant with a type
            return True
        case ast.Assign(targets=[ast.Name(id=name)]):  # a constant, or pydantic's settings
            return name.isupper() or name == "model_config"
        case ast.Expr(value=ast.Constant(value=str())):  # the docstring
            return True
        case ast.FunctionDef(name=name):
            return (name == "contradictions" or name.endswith("_contradictions")
                    or bool(decorators(statement) & VALIDATORS)
                    or (decorators(statement) == {"property"} and gives_a_section(statement)))
    return False


def test_sections_hold_values_and_check_them_and_decide_nothing() -> None:
    """What decides a result stands beside what uses it: only there does a change of it run the stage again."""
    assert {"MelParams", "VocoderParams", "Params"} <= sections().keys()
    behaviour = [f"{module}.{name}: {getattr(statement, 'name', ast.unparse(statement))}"
                 for name, (module, node) in sections().items() for statement in node.body
                 if not holds_or_checks(statement)]
    assert not behaviour, "\n".join(behaviour)


def test_one_module_makes_threads() -> None:
    """Threads of others would compute on as many cores as PyTorch gives them at the moment (`thread_pool`)."""
    makers = {module for module in modules() for node in statements(tree_of(module))
              if isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node).endswith(("PoolExecutor", "Thread"))}
    assert makers == {"koe.parallel", "koe.pipeline.parent"}  # whose thread waits and computes nothing
