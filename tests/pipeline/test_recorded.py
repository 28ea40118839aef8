"""Outputs that are not of the present parameters and data are told from those that are."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from koe import cli
from koe.pipeline.recorded import departure

METRICS = Path("metrics/evaluation.json")
VALUES: dict[str, Any] = {"seed": 1, "trim": {"db": -40.0}, "acoustic": {"rate": 1e-5, "layers": [2, 2], "name": "a"}}


def entry(path: str, md5: str) -> dict[str, str]:
    return {"path": path, "hash": "md5", "md5": md5}


def stages() -> dict[str, Any]:
    """trim → train → evaluate; train reads the folder in which trim writes a part."""
    whole = hashlib.md5(b"{}", usedforsecurity=False).hexdigest()
    return {
        "trim@ann": {"cmd": "t", "params": {"params.yaml": {"trim": VALUES["trim"]}},
                     "outs": [entry("data/trim/ann", "aa11.dir")]},
        "train": {"cmd": "t", "deps": [entry("data/trim", "bb22.dir"), entry("src/a.py", "1")],
                  "params": {"params.yaml": {"acoustic": {**VALUES["acoustic"], "rate": "1e-05"}}},
                  "outs": [entry("models/acoustic", "c")]},
        "evaluate": {"cmd": "e", "deps": [entry("models/acoustic", "c")], "params": {"params.yaml": {"seed": 1}},
                     "outs": [entry(METRICS.as_posix(), whole)]},
        "other": {"cmd": "o", "params": {"params.yaml": {"other": 3}}, "outs": [entry("data/other", "d")]},
    }


@pytest.fixture()
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    monkeypatch.chdir(tmp_path)
    METRICS.parent.mkdir()
    METRICS.write_text("{}")
    for digest, files in {"aa11": {"0.safetensors": "f"}, "aa33": {"0.safetensors": "g"},
                          "bb22": {"ann/0.safetensors": "f", "bob/0.safetensors": "x"}}.items():
        path = Path(".dvc/cache/files/md5", digest[:2], f"{digest[2:]}.dir")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([{"relpath": name, "md5": md5} for name, md5 in files.items()]))

    def written(lock: dict[str, Any], values: dict[str, Any]) -> None:
        Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}))
        Path("params.yaml").write_text(yaml.safe_dump(values))

    return written


Write = Callable[[dict[str, Any], dict[str, Any]], None]


def test_a_finished_run_departs_from_nothing(write: Write) -> None:
    write(stages(), VALUES)
    assert departure(METRICS) == ""
    write(stages(), {**VALUES, "unused": 3})
    assert departure(METRICS) == ""


@pytest.mark.parametrize("changed, names", [
    ({"trim": {"db": -30.0}}, "trim.db"), ({"acoustic": {**VALUES["acoustic"], "rate": 2e-5}}, "acoustic.rate"),
    ({"acoustic": {**VALUES["acoustic"], "layers": [2, 3]}, "seed": 2}, "seed, acoustic.layers"),
    ({"trim": {}}, "trim.db"),
])
def test_parameters_that_changed_since_are_named(write: Write, changed: dict[str, Any], names: str) -> None:
    write(stages(), VALUES | changed)
    line = departure(METRICS)
    assert line.startswith(f"{METRICS} is of an earlier run: since then {names}") and "dvc repro" in line


@pytest.mark.parametrize("stage, digest, remade", [("trim@ann", "aa33.dir", "data/trim/ann"),
                                                   ("train", "e", "models/acoustic")])
def test_data_made_again_by_a_run_that_failed_later_are_named(
    write: Write, stage: str, digest: str, remade: str
) -> None:
    lock = stages()
    lock[stage]["outs"][0]["md5"] = digest
    write(lock, VALUES)
    assert f"{remade} was made again since" in departure(METRICS)


def test_a_file_that_no_finished_run_wrote(write: Write) -> None:
    write(stages(), VALUES)
    METRICS.write_text('{"mcd_db": 1}')
    assert "not the one that a finished run wrote" in departure(METRICS)
    assert "not of a finished run" in departure(Path("metrics/data.json"))
    Path("dvc.lock").write_text("")
    assert "koe doctor" in departure(METRICS)
    Path("dvc.lock").unlink()
    assert departure(METRICS) == ""


def test_koe_summary_says_so(
    write: Write, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(root / "stages", "stages")
    monkeypatch.setattr("sys.argv", ["koe", "summary"])
    for values, notes in ((VALUES, 0), (VALUES | {"seed": 2}, 1)):
        write(stages(), values)
        with pytest.raises(SystemExit):
            cli.main()
        printed = capsys.readouterr()
        assert printed.err.count("\n") == notes and ("seed changed in params.yaml" in printed.err) == bool(notes)
