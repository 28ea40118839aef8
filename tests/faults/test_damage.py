"""A damaged file is refused by an error that names it, or what is read from it is what was written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from support.faults import DAMAGE, damage
from support.parameters import project_values
from support.small_training import make_session, make_task, small_params
from support.small_vocoder import make_task as make_vocoder_task
from support.small_vocoder import small_params as small_vocoder_params
from support.small_vocoder import write_corpus

from koe.errors import KoeError
from koe.files import read_json, write_json
from koe.params.reading import read_values
from koe.store import ShardReader, ShardWriter
from koe.tables import Table
from koe.tasks.conversion.model_file import AcousticModel, Preparation, load_acoustic, save_acoustic
from koe.training.loop import train
from koe.vocoder.model_file import VocoderModel, read_vocoder, save_vocoder

SEEDS = 4  # times that each damage is tried on each file
PRICES = Table("prices.csv", {"article": str, "pieces": int, "price": float, "discount": float | None})
Read = Callable[[], Any]


def refused_or(read: Read, path: Path, kind: str, accept: Callable[[Any], bool]) -> None:
    """Damages a file in many ways, one after the other; each time reading is refused, or gives what `accept` takes."""
    whole = path.read_bytes()
    for seed in range(SEEDS):
        damage(path, kind, np.random.default_rng(seed))
        try:
            content = read()
        except KoeError as error:
            assert path.name in str(error) or path.parent.name in str(error), f"seed {seed}: {error}"
        else:
            assert accept(content), f"seed {seed}: read as if nothing had happened, and it is something else"
        finally:
            path.write_bytes(whole)


@pytest.fixture(scope="module")
def acoustic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("acoustic")
    params = small_params(project_values())
    task = make_task(root, params)
    preparation = Preparation(params.mel, params.resample, params.trim, params.speaker_pitch)
    save_acoustic(root / "model", AcousticModel(
        task.model, params.acoustic, task.reader.speakers, preparation, {"revision": "test", "steps": 8}))
    return root / "model"


@pytest.fixture(scope="module")
def vocoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("vocoder")
    params = small_vocoder_params(project_values())
    task = make_vocoder_task(write_corpus(root / "data", params.mel), params)
    save_vocoder(root / "model", VocoderModel(task.generator, task.discriminators, params.vocoder, params.mel, 4,
                                              {"revision": "test"}))
    return root / "model"


def acoustic_content(folder: Path) -> Any:
    model = load_acoustic(folder)
    return (model.params, model.preparation, model.speakers.to_json(), _bytes(model.network.state_dict()),
            {name: vector.tobytes() for name, vector in model.speakers.embeddings.items()})


def vocoder_content(folder: Path) -> Any:
    model = read_vocoder(folder)
    networks = (model.generator, model.discriminators)
    return (model.params, model.mel, model.steps,
            [network and _bytes(network.state_dict()) for network in networks])


def _bytes(state: dict[str, torch.Tensor]) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in state.items()}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", ["model.safetensors", "model.json", "speakers.safetensors"])
def test_a_damaged_acoustic_model_is_not_taken_for_another(acoustic: Path, name: str, kind: str) -> None:
    before = acoustic_content(acoustic)
    refused_or(lambda: acoustic_content(acoustic), acoustic / name, kind, before.__eq__)


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", ["generator.safetensors", "discriminators.safetensors", "vocoder.json"])
def test_a_damaged_vocoder_is_not_taken_for_another(vocoder: Path, name: str, kind: str) -> None:
    before = vocoder_content(vocoder)
    refused_or(lambda: vocoder_content(vocoder), vocoder / name, kind, before.__eq__)


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_shard_is_refused_or_has_its_arrays(tmp_path: Path, kind: str) -> None:
    """What a flipped bit does to samples only DVC's hash can tell; names, shapes and types are the header's."""
    arrays = {f"s/{number}": np.arange(number * 10, dtype=np.float32) for number in range(1, 30)}
    with ShardWriter(tmp_path / "shards", {"mel": {"n_mels": 80}}) as writer:
        for name, array in arrays.items():
            writer.add(name, array=array)

    def read() -> Any:
        reader = ShardReader(tmp_path / "shards")
        return {name: reader.get(name, "array") for name in arrays}

    refused_or(read, tmp_path / "shards/00000.safetensors", kind, lambda content: {
        name: (array.shape, array.dtype) for name, array in content.items()
    } == {name: (array.shape, array.dtype) for name, array in arrays.items()})


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_table_is_refused_or_has_its_columns(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame({"article": ["a, b", "ü", "1"], "pieces": [1, 2, 3], "price": [0.5, 1e-9, 3],
                          "discount": [None, 0.1, None]})
    PRICES.write(tmp_path, frame)
    whole = PRICES.read(tmp_path)
    refused_or(lambda: PRICES.read(tmp_path), tmp_path / "prices.csv", kind,
               lambda table: table.dtypes.equals(whole.dtypes))


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_json_and_parameters_are_refused_or_read(tmp_path: Path, kind: str) -> None:
    write_json(tmp_path / "metrics.json", {"mcd_db": 4.5, "ü": [1, 2, {"a": None}]})
    refused_or(lambda: read_json(tmp_path / "metrics.json"), tmp_path / "metrics.json", kind, lambda _: True)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(project_values(), allow_unicode=True), encoding="utf-8")
    refused_or(lambda: read_values(tmp_path / "params.yaml"), tmp_path / "params.yaml", kind, lambda _: True)


@pytest.mark.parametrize("name", ["last.safetensors", "curves.jsonl"])
@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.slow
def test_a_damaged_checkpoint_is_refused_or_ends_in_the_same_weights(
    tmp_path: Path, values: dict[str, Any], kind: str, name: str
) -> None:
    class Killed(Exception):
        pass

    params = small_params(values)

    def run(root: Path, until: int | None = None) -> Any:
        task = make_task(root, params)
        session = make_session(root, task)
        if until is not None:
            save = session.save

            def save_and_die(step: int, objects: Any) -> None:
                save(step, objects)
                raise Killed

            session.save = save_and_die  # type: ignore[method-assign]
        train(task, session)
        return _bytes(task.network.state_dict())

    whole = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path, until=3)
    file, = (tmp_path / "work").glob(f"*/{name}")
    saved = {path: path.read_bytes() for path in file.parent.iterdir()}
    for seed in range(SEEDS):
        for path, content in saved.items():
            path.write_bytes(content)
        damage(file, kind, np.random.default_rng(seed))
        try:
            weights = run(tmp_path)
        except KoeError as error:
            assert name in str(error), f"seed {seed}"
        else:
            assert weights == whole, f"seed {seed}: it went on from something else"
