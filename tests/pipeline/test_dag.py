"""Both dvc.yaml declare what the stages read: modules, parameters, and nothing that would re-run them in vain."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"

# A change here cannot change a result: messages, bars, the order of work, the types of values that are tracked anyway.
WITHOUT_EFFECT = {"koe/__init__.py", "koe/errors.py", "koe/progress.py", "koe/parallel.py", "koe/params.py",
                  "koe/contradictions.py"}


def _module_file(name: str) -> Path | None:
    path = SOURCE / name.replace(".", "/")
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


@cache
def _imports(path: Path) -> frozenset[Path]:
    """Files of koe that a file imports anywhere in it, a name imported from a package included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "koe":
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "koe"]
        else:
            continue
        found |= {file for name in names if (file := _module_file(name)) and file.stat().st_size}
    return frozenset(found)


def closure(script: Path) -> set[str]:
    """Every file of koe that a stage script runs, as paths from the root."""
    seen: set[Path] = set()
    waiting = [script]
    while waiting:
        for file in _imports(waiting.pop()) - seen:
            seen.add(file)
            waiting.append(file)
    relative = {file.relative_to(SOURCE).as_posix() for file in seen}
    return {f"src/{name}" for name in relative - WITHOUT_EFFECT}


def _stages() -> dict[str, dict]:
    files = [yaml.safe_load((ROOT / file).read_text()) for file in ("dvc.yaml", "universal/dvc.yaml")]
    return {name: entry.get("do", entry) for file in files for name, entry in file["stages"].items()}


def _script(stage: dict) -> Path:
    return ROOT / re.search(r"stages/\w+\.py", stage["cmd"]).group()


def _expanded(stage: dict) -> set[str]:
    """The stage's deps on code, folders opened up to their files."""
    paths = [ROOT / dep for dep in stage["deps"] if dep.startswith("src/koe")]
    assert all(path.exists() for path in paths), [str(path) for path in paths if not path.exists()]
    files = {file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()}
    return {file.relative_to(ROOT).as_posix() for file in files if file.suffix == ".py" and file.stat().st_size}


@pytest.mark.parametrize("name", _stages())
def test_deps_are_the_modules_that_run(name: str) -> None:
    stage = _stages()[name]
    script = _script(stage)
    needed, declared = closure(script), _expanded(stage)
    assert script.relative_to(ROOT).as_posix() in stage["deps"]
    assert sorted(needed - declared) == [], f"{name} runs these, but would not re-run when they change"
    assert sorted(declared - needed) == [], f"{name} would re-run for these, but does not run them"


@pytest.mark.parametrize("name", _stages())
def test_declared_parameters_are_those_read(name: str) -> None:
    stage = _stages()[name]
    read: set[str] = set()
    for node in ast.walk(ast.parse(_script(stage).read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "read_params":
            read |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    declared = {parameter.removesuffix(".${key}") for parameter in stage["params"]}
    assert declared == read


@pytest.mark.parametrize("name", _stages())
def test_stage_scripts_are_glue(name: str) -> None:
    assert len(_script(_stages()[name]).read_text().splitlines()) <= 70


def test_pitch_module_matters_from_extract_on() -> None:
    users = {name for name, stage in _stages().items() if "src/koe/audio/pitch.py" in _expanded(stage)}
    assert "extract" in users
    assert users.isdisjoint({"import", "resample", "trim", "pair", "align"})


def test_packages_import_nothing() -> None:
    assert [path for path in SOURCE.rglob("__init__.py") if path.parent.name != "koe" and path.stat().st_size] == []
