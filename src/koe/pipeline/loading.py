"""Loading a pipeline's declaration from its folder.

It is a module of its own because every stage imports it, and would otherwise depend on `koe.pipeline.declaration`.
"""

import importlib.util
from pathlib import Path
from typing import Any

from koe.errors import KoeError

FILE = Path("stages/pipeline.py")  # relative to a pipeline's folder


def load_declaration(folder: str | Path = ".") -> Any:
    """`PIPELINE` of a pipeline's folder (a `koe.pipeline.declaration.Pipeline`). Raises KoeError if it has none."""
    path = Path(folder) / FILE
    if not path.is_file():
        raise KoeError(f"{path} does not exist; run from a pipeline's folder: the project's root, or pipelines/<name>")
    spec = importlib.util.spec_from_file_location("pipeline", path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PIPELINE
