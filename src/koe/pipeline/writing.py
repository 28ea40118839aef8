"""Writing a pipeline's dvc.yaml from its stage scripts: `koe pipeline write`.

The file is plain, readable DVC, and committed; its `stages` are never edited by hand. What follows them (metrics,
plots, artifacts) is only displayed by DVC and does not affect results: it is kept by hand, and preserved.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from koe.pipeline.stage import KEY, Stage
from koe.errors import KoeError
from koe.files import read_text, write_text
from koe.pipeline.closure import SOURCE, closure
from koe.pipeline.declaration import SUMMARY
from koe.pipeline.loading import FILE, load_declaration
from koe.workspace import project_root

HEADER = """\
# Written by `koe pipeline write` from the stage scripts: what each declares, and the modules that it runs. PYTHONPATH
# makes a stage run the code of the checkout that it lies in, also in the temporary checkouts of queued experiments.
"""
END = "# Shown by DVC; from here on the file is kept by hand.\n"
_WIDTH = 120


def pipeline_folders(root: str | Path = ".") -> list[Path]:
    """The folders of all pipelines of the project in `root`: the root itself, and those in pipelines/."""
    folders = [Path(root), *sorted(Path(root).glob("pipelines/*"))]
    return [folder for folder in folders if (folder / FILE).is_file()]


def write_dvc_yaml(folder: str | Path = ".") -> Path:
    """Writes the pipeline's dvc.yaml, if it changed, and returns its path. Raises as `dvc_yaml` does."""
    path = Path(folder) / "dvc.yaml"
    text = dvc_yaml(folder)
    if not path.exists() or read_text(path) != text:
        write_text(path, text)
    return path


def dvc_yaml(folder: str | Path = ".") -> str:
    """The content of the pipeline's dvc.yaml.

    Raises KoeError if the folder has no declaration, or naming a script that is missing or declares no stage.
    """
    folder = Path(folder).resolve()
    stages = {}
    for script in (folder / name for name in load_declaration(folder).stages):
        stage = read_stage(script)
        stages[stage.name] = _entry(stage, script, folder)
    blocks = [yaml.safe_dump({name: entry}, sort_keys=False, allow_unicode=True, width=_WIDTH - 2)
              for name, entry in stages.items()]
    body = "\n".join("".join(f"  {line}\n" for line in block.splitlines()) for block in blocks)
    return f"{HEADER}\nstages:\n{body}\n{END}{_kept_by_hand(folder / 'dvc.yaml', stages)}"


def read_stage(script: Path) -> Stage[Any, Any, Any]:
    """Imports a script and returns its STAGE. Raises KoeError if the file is missing or has none."""
    if not script.is_file():
        raise KoeError(f"{script} does not exist; {FILE} names it as a stage")
    spec = importlib.util.spec_from_file_location(f"stage_{script.stem}", script)
    assert spec is not None and spec.loader is not None, script
    module = importlib.util.module_from_spec(spec)
    with _modules_beside(script):
        spec.loader.exec_module(module)
    stage = getattr(module, "STAGE", None)
    if not isinstance(stage, Stage):
        raise KoeError(f"{script}: expected STAGE = Stage(…), see docs/adding-a-task.md")
    return stage


@contextmanager
def _modules_beside(script: Path) -> Iterator[None]:
    """A context in which the modules beside a script can be imported as when it runs, instead of another pipeline's."""
    names = {path.stem for path in script.parent.glob("*.py")}
    others = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    sys.path.insert(0, str(script.parent))
    try:
        yield
    finally:
        sys.path.remove(str(script.parent))
        for name in names & sys.modules.keys():
            del sys.modules[name]
        sys.modules.update(others)


def _entry(stage: Stage[Any, Any, Any], script: Path, folder: Path) -> dict[str, Any]:
    root = project_root(folder) or folder
    # A Koe that is installed outside the project is not a dep.
    code = [file for file in closure(script) if file.is_relative_to(root)]
    source = "" if not SOURCE.is_relative_to(root) else f"PYTHONPATH={_relative(SOURCE, folder)} "
    command = f"{source}python {_relative(script, folder)}" + (f" {KEY}" if stage.per_corpus else "")
    entry: dict[str, Any] = {"desc": stage.purpose, "cmd": command}
    if names := stage.parameters.names():
        entry["params"] = names
    entry["deps"] = [*map(str, stage.inputs.paths()), *_collapsed(code, folder)]
    if stage.looks_outside:
        entry["always_changed"] = True
    options = {"cache": False, "persist": True}
    entry["outs"] = [{path.as_posix(): options} if stage.looks_outside else path.as_posix()
                     for path in stage.outputs.paths()]
    return {"foreach": "${corpora}", "do": entry} if stage.per_corpus else entry


def _collapsed(code: Sequence[Path], folder: Path) -> Iterator[str]:
    """The files relative to `folder`; a folder of the package replaces its files if all that are not empty are deps."""
    files = set(code)
    whole = set()
    for package in sorted({file.parent for file in files if file.is_relative_to(SOURCE)}):
        contents = {path for path in package.rglob("*") if path.is_file() and path.stat().st_size
                    and "__pycache__" not in path.parts}
        if len(contents) > 1 and contents <= files:
            whole.add(package)
    outermost = {place for place in whole if not whole & set(place.parents)}
    covered = {file for file in files if outermost & set(file.parents)}
    first, *rest = code
    yield _relative(first, folder)
    yield from sorted(_relative(path, folder) for path in {*rest} - covered | outermost)


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _kept_by_hand(path: Path, stages: Mapping[str, Any]) -> str:
    """What follows the stages in the existing file; in a new one, SUMMARY as DVC's metrics if a stage writes it."""
    if not path.exists():
        outs = {out for entry in stages.values() for out in entry.get("do", entry)["outs"] if isinstance(out, str)}
        return f"\nmetrics:\n- {SUMMARY}\n" if SUMMARY in outs else ""
    text = read_text(path)
    _, mark, rest = text.partition(END)
    if not mark:
        raise KoeError(f"{path} has no line {END.strip()!r}, so the part that is kept by hand cannot be found; add the "
                       "line after the stages")
    return rest
