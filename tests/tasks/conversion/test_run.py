"""A whole run of the acoustic model, as its stage asks for it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.small_training import make_task, small_params

from koe.tasks.conversion.model_file import Preparation, load_acoustic
from koe.tasks.conversion.run import AcousticData, train_acoustic


def test_lesson_01_a_run_leaves_a_model_that_says_what_made_it(
    tmp_path: Path, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KOE_WORK", str(tmp_path / "work"))
    params = small_params(values, steps=3, validate_every=3)
    task = make_task(tmp_path, params)
    reader = task.reader
    data = AcousticData(reader.dataset, task.train, task.validation, reader.speakers, reader.durations, {}, None)
    preparation = Preparation(params.mel, params.resample, params.trim, params.speaker_pitch)
    runs = []
    for code, train in (("one", task.train), ("other", task.train[:3])):
        train_acoustic(params.acoustic, preparation, replace(data, train=train), params.seed, None, "the data", code,
                       "abc", tmp_path / "curves", tmp_path / "model")
        provenance = load_acoustic(tmp_path / "model").provenance
        runs.append(provenance["run"])
        expected = {"seed": params.seed, "inputs": "the data", "code": code, "init": None, "revision": "abc",
                    "steps": 3, "pairs": {"train": len(train), "validation": 1}}
        assert {name: provenance[name] for name in expected} == expected
    assert runs[0] != runs[1]  # a checkpoint of other code is not gone on with
    assert "acoustic: 2 batches an epoch, 38.0% of their frames are padding" in capsys.readouterr().out
    assert (tmp_path / "curves/metrics.json").exists()
    assert not list((tmp_path / "work").rglob("last.safetensors"))
