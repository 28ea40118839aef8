"""Damage of every kind to every file that Koe reads: a KoeError that names the file, and never a traceback."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from support.parameters import project_values

from koe.align.neural import build_network as build_aligner
from koe.align.neural import load_aligner, save_aligner
from koe.align.params import LearnedAlignParams
from koe.align.steps import StepReader
from koe.arrays import read_array
from koe.audio.grid import mel_contract
from koe.audio.params import MelParams
from koe.corpus.statistics import read_statistics
from koe.errors import KoeError
from koe.evaluation.measure import read_evaluation
from koe.experiments.named import read_experiment
from koe.files import read_json, read_text, write_json
from koe.params.reading import read_values
from koe.report.curves import load_curves
from koe.statistics import Moments
from koe.store import ShardReader, ShardWriter
from koe.tables import Table
from koe.training.checkpoint import load_checkpoint, save_checkpoint
from koe.vocoder.model_file import VocoderModel, read_vocoder, save_vocoder
from koe.vocoder.networks import make_network
from koe.vocoder.parallel_wavegan import read_statistics as read_mel_statistics
from koe.vocoder.params import VocoderParams
from koe.vocoder.published import read_checkpoint as read_published
from koe.yaml_files import read_yaml

TABLE = Table("table.csv", {"name": str, "count": int})


class Reader(NamedTuple):
    """A file, as Koe or others write it, and what reads it."""

    file: str  # in the folder
    write: Callable[[Path], Any]  # gets the folder
    read: Callable[[Path], Any]


def small_vocoder() -> tuple[VocoderParams, MelParams]:
    values = project_values()
    values["vocoder"]["harmonic_noise"] |= {"layers": 1, "hidden": 8, "feed_forward": 8}
    return VocoderParams.model_validate(values["vocoder"]), MelParams.model_validate(values["mel"])


def write_vocoder(folder: Path) -> None:
    params, mel = small_vocoder()
    save_vocoder(folder, VocoderModel(make_network(params, mel), None, params, mel, 3))


def aligner_params() -> tuple[LearnedAlignParams, MelParams]:
    values = project_values()
    section = values["align"]["learned"] | {"hidden": 8, "layers": 1, "channels": 4}
    return LearnedAlignParams.model_validate(section), MelParams.model_validate(values["mel"])


def write_aligner(folder: Path) -> None:
    params, mel = aligner_params()
    moments = Moments(9, np.zeros(80), np.ones(80))
    save_aligner(folder, "learned", build_aligner("learned", params, 80, 3), StepReader({"a/b": moments}, 3), mel, {})


def write_statistics(folder: Path) -> None:
    scalar, mel = Moments(9, np.array(0.0), np.array(1.0)).to_json(), Moments(9, np.zeros(80), np.ones(80)).to_json()
    group = {"mel": mel, "log_f0": scalar, "energy": scalar}
    write_json(folder / "stats.json", {
        "mel": mel_contract(small_vocoder()[1]), "levels": project_values()["stats"], "source": group, "target": group,
        "overall": group, "speakers": {}})


def write_shards(folder: Path) -> None:
    with ShardWriter(folder, {"mel": {}}) as writer:
        writer.add("a", mel=np.zeros((4, 3), np.float32))


def write_curve(folder: Path) -> None:
    (folder / "plots/metrics").mkdir(parents=True)
    (folder / "plots/metrics/loss.tsv").write_text("step\tloss\n1\t0.5\n2\t0.25\n")


def written(text: str, name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(text)


def network() -> dict[str, Any]:
    return {"network": torch.nn.Linear(3, 3)}


CONFIG = json.dumps({"upsample_rates": [8, 8]})
READERS = {
    "text": Reader("a.txt", written("words\n" * 9, "a.txt"), lambda folder: read_text(folder / "a.txt")),
    "json": Reader("a.json", written('{"a": [1, 2.5, "b"]}', "a.json"), lambda folder: read_json(folder / "a.json")),
    "yaml": Reader("a.yaml", written("a: {b: [1, 2]}\n", "a.yaml"), lambda folder: read_yaml(folder / "a.yaml")),
    "parameters": Reader("params.yaml", written("seed: {b: [1]}\n", "params.yaml"),
                         lambda folder: read_values(folder / "params.yaml")),
    "experiment": Reader("x.yaml", written("purpose: a line\nparameters: {seed: 1}\n", "x.yaml"),
                         lambda folder: read_experiment("x", folder)),
    "table": Reader("table.csv", written("name,count\na,1\nb,2\n", "table.csv"), TABLE.read),
    "evaluation": Reader("evaluation.csv", written("pair,condition,wer,text,transcript,missing\na,b,0.5,c,d,\n",
                                                   "evaluation.csv"), read_evaluation),
    "curve": Reader("plots/metrics/loss.tsv", write_curve, load_curves),
    "shard": Reader("00000.safetensors", write_shards, ShardReader),
    "statistics": Reader("stats.json", write_statistics, lambda folder: read_statistics(folder, small_vocoder()[1])),
    "vocoder's card": Reader("vocoder.json", write_vocoder, read_vocoder),
    "vocoder's weights": Reader("generator.safetensors", write_vocoder, read_vocoder),
    "aligner's card": Reader("model.json", write_aligner, lambda folder: load_aligner(folder, *aligner_params(), 3)),
    "aligner's weights": Reader("model.safetensors", write_aligner,
                                lambda folder: load_aligner(folder, *aligner_params(), 3)),
    "checkpoint": Reader("last.safetensors", lambda folder: save_checkpoint(folder / "last.safetensors", 1, network()),
                         lambda folder: load_checkpoint(folder / "last.safetensors", network())),
    "array": Reader("a.npy", lambda folder: np.save(folder / "a.npy", np.zeros((3, 80), np.float32)),
                    lambda folder: read_array(folder / "a.npy")),
    "mel statistics": Reader("a.npy", lambda folder: np.save(folder / "a.npy", np.ones((2, 80))),
                             lambda folder: read_mel_statistics(folder / "a.npy", 80)),
    "pytorch": Reader("g_1", lambda folder: torch.save({"generator": {"a": torch.zeros(9)}}, folder / "g_1"),
                      lambda folder: read_published(folder / "g_1")),
}
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "not UTF-8": lambda data: b"\xff\xfe" + data,
    "zeros": lambda data: bytes(len(data)),
    "nested": lambda data: b"[" * 5000,
    "marks of pickles": lambda data: b"\x80\x02" + b"(" * 5000 + b"0" * 6000 + b"t.",
}
CUT = [name for name, reader in READERS.items() if not reader.file.endswith((".txt", ".csv", ".tsv", "a.yaml"))]


def refused(reader: Reader, folder: Path) -> str:
    with pytest.raises(KoeError) as raised:
        reader.read(folder)
    message = str(raised.value)
    assert reader.file in message and len(message) < 1500, message
    return message


@pytest.mark.parametrize("name", READERS)
def test_what_is_whole_is_read_and_what_is_not_a_file_is_named(tmp_path: Path, name: str) -> None:
    reader = READERS[name]
    reader.write(tmp_path)
    reader.read(tmp_path)
    path = tmp_path / reader.file
    path.unlink()
    path.mkdir()
    if name != "experiment":  # there is none of that name then
        assert "folder" in refused(reader, tmp_path)
    path.rmdir()
    os.mkfifo(path)  # nobody writes to it: reading would never end
    refused(reader, tmp_path)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", READERS)
def test_damage_is_named(tmp_path: Path, name: str, damage: str) -> None:
    if (name == "text" and damage in ("empty", "zeros", "nested")) or (name, damage) == ("yaml", "empty"):
        pytest.skip("as good as another")
    reader = READERS[name]
    reader.write(tmp_path)
    path = tmp_path / reader.file
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    refused(reader, tmp_path)


@pytest.mark.parametrize("name", CUT)
def test_a_cut_file_is_named(tmp_path: Path, name: str) -> None:
    reader = READERS[name]
    reader.write(tmp_path)
    path = tmp_path / reader.file
    data = path.read_bytes()
    for share in (0.02, 0.3, 0.9):
        path.write_bytes(data[: int(share * len(data))])
        refused(reader, tmp_path)


CARDS = {
    "vocoder's card": ("steps", "many"), "aligner's card": ("factor", True), "statistics": ("overall", {"mel": 1}),
}


@pytest.mark.parametrize("value", ["nothing", None, [], 10**15, "a text", {"a": {}}, -1.5])
@pytest.mark.parametrize("name", CARDS)
def test_every_entry_of_a_card_is_checked(tmp_path: Path, name: str, value: Any) -> None:
    reader = READERS[name]
    reader.write(tmp_path)
    path = tmp_path / reader.file
    card = json.loads(path.read_text())
    for entry in card:
        if entry in ("provenance", "contract", "checksums") and isinstance(value, dict):
            continue  # these hold anything, or are compared with something else
        changed = dict(card)
        changed[entry] = value
        if value == "nothing":
            del changed[entry]
            if entry in ("checksums", "contract", "mel"):
                continue
        path.write_text(json.dumps(changed))
        try:
            reader.read(tmp_path)
        except KoeError as error:
            assert str(tmp_path) in str(error)


@pytest.mark.parametrize("section, name, value", [
    ("vocoder", "hidden", 10**9), ("vocoder", "layers", 10**9), ("vocoder", "kernel", 10**9 + 1),
    ("vocoder", "hidden", "8"), ("vocoder", "hidden", True), ("vocoder", "hidden", 0), ("vocoder", "hidden", 10**17),
    ("mel", "n_mels", 10**9), ("mel", "hop_length", 0),
])
def test_sizes_that_the_weights_do_not_have_take_no_memory(
    tmp_path: Path, section: str, name: str, value: Any
) -> None:
    write_vocoder(tmp_path)
    card = json.loads((tmp_path / "vocoder.json").read_text())
    place = card["vocoder"]["harmonic_noise"] if section == "vocoder" else card["mel"]
    place[name] = value
    (tmp_path / "vocoder.json").write_text(json.dumps(card))
    with pytest.raises(KoeError, match=r"vocoder\.json"):
        read_vocoder(tmp_path)


def test_weights_that_are_not_numbers_are_named(tmp_path: Path) -> None:
    params, mel = small_vocoder()
    generator = make_network(params, mel)
    name, tensor = next(iter(generator.named_parameters()))
    with torch.no_grad():
        tensor.view(-1)[0] = torch.nan
    save_vocoder(tmp_path, VocoderModel(generator, None, params, mel, 3))
    with pytest.raises(KoeError, match=rf"generator\.safetensors: .*{name.partition('.')[0]}.* NaN or infinity"):
        read_vocoder(tmp_path)


@pytest.mark.parametrize("header", [
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 80), }", "{'descr': '|O', 'shape': (3,), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", "{'descr': '<f4', 'fortran_order': False, 'shape': 3}",
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,)}", "(" * 9000, "{'descr': '<f4'", "\0" * 40,
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 80), }", "__import__('os')", "{[]: 1}", "1" * 5000,
    "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 80), }",
    "{'descr': '<c8', 'fortran_order': False, 'shape': (3,), }",
])
def test_headers_of_arrays_are_judged_before_anything_is_allocated(tmp_path: Path, header: str) -> None:
    data = header.encode("latin-1")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(data).to_bytes(2, "little") + data + bytes(960))
    with pytest.raises(KoeError, match=r"a\.npy cannot be read as a \.npy file"):
        read_array(tmp_path / "a.npy")


@pytest.mark.parametrize("dtype, order", [("<f4", "C"), (">f8", "F"), ("<f2", "C")])
def test_arrays_of_any_layout_are_read(tmp_path: Path, dtype: str, order: Any) -> None:
    array = np.arange(240, dtype=dtype).reshape(3, 80, order=order)
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), array.astype(np.float32))
    np.savez(tmp_path / "a.npz", array)
    with pytest.raises(KoeError, match=r"\.npz"):
        read_array(tmp_path / "a.npz")


def test_numbers_that_cannot_be_held_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full(3, 1e300))
    with pytest.raises(KoeError, match="beyond float32"):
        read_array(tmp_path / "a.npy")
    for text, message in (
        ('{"a": NaN}', "NaN is not"), ('{"a": 1e999}', "beyond"), ('{"a": 1' + "0" * 30 + "}", "larger"),
        ('{"a": 1' + "0" * 5000 + "}", "larger"), ('{"a": "\\ud800"}', "surrogate"), ("[]", "holds a list"),
    ):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(KoeError, match=rf"a\.json .*{message}"):
            read_json(tmp_path / "a.json")


@pytest.mark.parametrize("text, message", [
    ("a: 1\nb: 2\na: 3\n", "in line 3: a is there twice, in line 1 too"),
    ("s:\n  x: 1\n  x: 1\n", "in line 3: x is there twice"),
    ("a:\n\tb: 1\n", "in line 2: .*indent with spaces"),
    ("a: &a [" + "1, " * 9 + "]\n" + "".join(
        f"{chr(98 + level)}: &{chr(98 + level)} [{', '.join([f'*{chr(97 + level)}'] * 9)}]\n" for level in range(9)),
     "stands for more than"),
    ("a: &a {b: *a}\n", "contains itself"), ("a: 2001-13-01\n", "in line 1: .*month"), ("a: !!int ''\n", "in line 1"),
    ("a: !!python/object/apply:os.system [x]\n", "in line 1"), ("a: 1" + "0" * 30, "larger than"),
])
def test_yaml_that_is_refused_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(KoeError, match=rf"params\.yaml is not valid YAML.*{message}"):
        read_values(tmp_path / "params.yaml")


def test_yaml_has_the_numbers_that_dvc_writes_and_merges(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: &a {x: 1e-05, y: 2}\nb: {<<: *a, y: .5e3}\nc: yes\nd: '1e-5'\n")
    assert read_yaml(tmp_path / "a.yaml") == {
        "a": {"x": 1e-5, "y": 2}, "b": {"x": 1e-5, "y": 500.0}, "c": True, "d": "1e-5"}
