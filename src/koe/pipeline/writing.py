"""Writing a pipeline's dvc.yaml from what its stage scripts declare and run: `koe pipeline write`.

The file is plain DVC for a person to read, and committed; nobody keeps its `stages` by hand. What comes after them
(metrics, plots, artifacts) is only shown by DVC and decides nothing: it stays as it is.
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
from koe.files import replacing
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
    """The folders of all pipelines of the project in `root`: itself, and those of pipelines/."""
    folders = [Path(root), *sorted(Path(root).glob("pipelines/*"))]
    return [folder for folder in folders if (folder / FILE).is_file()]


def write_dvc_yaml(folder: str | Path = ".") -> Path:
    """Writes the pipeline's dvc.yaml anew and returns its path; raises as `dvc_yaml` does."""
    path = Path(folder) / "dvc.yaml"
    text = dvc_yaml(folder)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return path


def dvc_yaml(folder: str | Path = ".") -> str:
    """What the pipeline's dvc.yaml is to say.

    Raises KoeError if the folder has no declaration, or naming a script that is missing or declares no stage.
    """
    folder = Path(folder).resolve()
    scripts = [folder / script for script in load_declaration(folder).stages]
    stages = {stage.name: _entry(stage, script, folder) for script in scripts for stage in [read_stage(script)]}
    blocks = [yaml.safe_dump({name: entry}, sort_keys=False, allow_unicode=True, width=_WIDTH - 2)
              for name, entry in stages.items()]
    body = "\n".join("".join(f"  {line}\n" for line in block.splitlines()) for block in blocks)
    return f"{HEADER}\nstages:\n{body}\n{END}{_kept_by_hand(folder / 'dvc.yaml', stages)}"


def read_stage(script: Path) -> Stage[Any, Any, Any]:
    """The STAGE of a script, which is loaded for it. Raises KoeError if the file is missing or has none."""
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
    """Within it the modules beside a script can be imported as when it is run, and not those of another pipeline."""
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
    # An installed Koe is no file of the project, and no dep.
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
    """The files from `folder` on; a folder of the package instead, where everything with content in it is meant."""
    files = set(code)
    whole = set()
    for place in sorted({file.parent for file in files if file.is_relative_to(SOURCE)}):
        inside = {path for path in place.rglob("*") if path.is_file() and path.stat().st_size
                  and "__pycache__" not in path.parts}
        if len(inside) > 1 and inside <= files:
            whole.add(place)
    outermost = {place for place in whole if not whole & set(place.parents)}
    covered = {file for file in files if outermost & set(file.parents)}
    first, *rest = code
    yield _relative(first, folder)
    yield from sorted(_relative(path, folder) for path in {*rest} - covered | outermost)


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _kept_by_hand(path: Path, stages: Mapping[str, Any]) -> str:
    """What follows the stages in the file that is there; without one, what DVC is to show of a usual pipeline."""
    if not path.exists():
        outs = {out for entry in stages.values() for out in entry.get("do", entry)["outs"] if isinstance(out, str)}
        return f"\nmetrics:\n- {SUMMARY}\n" if SUMMARY in outs else ""
    text = path.read_text(encoding="utf-8")
    _, mark, rest = text.partition(END)
    if not mark:
        raise KoeError(f"{path} has no line {END.strip()!r}, so what is kept by hand cannot be told; add it after "
                       "the stages")
    return rest
