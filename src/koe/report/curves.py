"""The curves of training runs, read from DVCLive's tables in metrics/."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from koe.files import require_regular, understood
from koe.pipeline.declaration import PipelineFolder
from koe.report.drawing import curve_class, curves_svg

Curve = list[tuple[int, float]]  # optimizer step, value
_CURVES = {"train": "train", "validation": "validation", "validation_teacher_forced": "validation, teacher-forced",
           "average_best": "mean of the best"}  # folders of the curves of every part, and their names on the page


def load_curves(folder: Path) -> dict[str, dict[str, Curve]]:
    """DVCLive's tables as `{part: {curve: [(step, value)]}}`; a part holds its training and its validation curves.

    `train/mel`, `validation/mel`, `validation_teacher_forced/mel` and `average_best/mel` are curves of part `mel`; any
    other (`learning_rate`) is a part with one curve. `gap/…` is the difference of two curves that are drawn, and is
    left out. Without the folder there are no curves. Raises StoreError naming a table that is damaged.
    """
    parts: dict[str, dict[str, Curve]] = {}
    plots, order = folder / "plots" / "metrics", list(_CURVES)
    paths = {path: path.parent.relative_to(plots).as_posix() for path in sorted(plots.rglob("*.tsv"))}
    for path, state in sorted(paths.items(), key=lambda item: order.index(item[1]) if item[1] in order else -1):
        part = path.stem
        if state == "gap":
            continue
        curve = _read_curve(path)
        name = _CURVES.get(state, part)
        if state not in _CURVES and state != ".":
            part = f"{state}/{part}"
        if curve:
            parts.setdefault(part, {})[name] = curve
    return dict(sorted(parts.items(), key=lambda item: (-len(item[1]), "validation" not in item[1], item[0])))


def _read_curve(path: Path) -> Curve:
    """Raises StoreError naming the file."""
    advice = "run dvc repro, which trains again, or remove it to do without the curve"
    with understood(path, advice):
        require_regular(path)
        table = pd.read_csv(path, sep="\t").dropna()
        return list(zip(table["step"].astype(int).tolist(), table.iloc[:, 1].astype(float).tolist(), strict=True))


def load_trainings(folder: PipelineFolder) -> dict[str, Any]:
    """For training.html.jinja: the curves of every training run that the parameters use, by title."""
    values = folder.values
    curves = {training.title: load_curves(folder.path / "metrics" / training.curves)
              for training in folder.pipeline.trainings if training.is_used(values)}
    return {"trainings": {title: [_chart(part, curves) for part, curves in parts.items()]
                          for title, parts in curves.items()}}


def _chart(part: str, curves: Mapping[str, Curve]) -> dict[str, Any]:
    """The curves of one part, and their last values as text."""
    ends = [(curve_class(name), "" if name == part else name, f"{curve[-1][1]:.4g}") for name, curve in curves.items()]
    label = f"{part} by step: " + ", ".join(f"{name} ends at {value}" for _, name, value in ends)
    return {"part": part, "ends": ends, "svg": curves_svg(curves, label)}
