"""Finding a pipeline's declaration by its folder; apart from `koe.pipeline.declaration`, for every stage runs this."""

import importlib.util
from pathlib import Path
from typing import Any

from koe.errors import KoeError

FILE = Path("stages/pipeline.py")  # from a pipeline's folder


def load_declaration(folder: str | Path = ".") -> Any:
    """`PIPELINE` of a pipeline's folder (`koe.pipeline.declaration.Pipeline`). Raises KoeError if it has none."""
    path = Path(folder) / FILE
    if not path.is_file():
        raise KoeError(f"{path} does not exist; run from a pipeline's folder: the project's root, or pipelines/<name>")
    spec = importlib.util.spec_from_file_location("pipeline", path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PIPELINE
