"""Files made to do harm: nothing in them runs, each is refused by name, and texts stay texts."""

import json
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from support.faults import ESCAPES, HTML, Malice, hostile_arrays, hostile_json, shows_control_codes, yaml_tags

from koe.errors import KoeError
from koe.experiments.named import read_experiment
from koe.files import read_json
from koe.params.reading import read_values
from koe.tasks.conversion.model_file import load_acoustic
from koe.vocoder.model_file import read_vocoder
from koe.vocoder.parallel_wavegan import import_parallel_wavegan, read_statistics
from koe.vocoder.published import import_hifigan
from koe.vocoder.vocode import read_f0, read_mel

MARKER = Path("/nowhere")  # only the names of the cases are taken from it


@pytest.fixture()
def marker(tmp_path: Path) -> Any:
    """The folder that hostile content would make; it may not be there after the test."""
    yield tmp_path / "ran"
    assert not (tmp_path / "ran").exists(), "code in a file was run"


@pytest.mark.parametrize("kind", hostile_arrays(MARKER))
def test_arrays_are_refused_by_name(tmp_path: Path, marker: Path, kind: str) -> None:
    path = tmp_path / "hostile.npy"
    path.write_bytes(hostile_arrays(marker)[kind])
    for read in (lambda: read_mel(path, 80), lambda: read_f0(path, 10), lambda: read_statistics(path, 80)):
        with pytest.raises(KoeError, match=r"hostile\.npy"):
            read()


@pytest.mark.parametrize("kind", yaml_tags(MARKER))
def test_yaml_is_data(tmp_path: Path, marker: Path, kind: str) -> None:
    content = yaml_tags(marker)[kind].encode("utf-8", "surrogateescape")
    for name in ("params.yaml", "hostile.yaml", "config.yml"):
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "stats.npy", np.ones((2, 80)))
    (tmp_path / "c.pkl").write_bytes(pickle.dumps(Malice(marker)))
    with pytest.raises(KoeError, match=r"hostile\.yaml"):
        read_experiment("hostile", tmp_path)
    with pytest.raises(KoeError, match=r"config\.yml|c\.pkl"):
        import_parallel_wavegan(tmp_path / "c.pkl", tmp_path / "config.yml", tmp_path / "stats.npy")
    try:
        read_values(tmp_path / "params.yaml")
    except KoeError as error:
        assert "params.yaml" in str(error)


@pytest.mark.parametrize("kind", hostile_json())
def test_cards_and_configurations_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    for name in ("model.json", "vocoder.json", "config.json", "any.json"):
        (tmp_path / name).write_bytes(hostile_json()[kind])
    torch.save({"generator": {}}, tmp_path / "g_00000001")
    with pytest.raises(KoeError, match=r"model\.json"):
        load_acoustic(tmp_path)
    with pytest.raises(KoeError, match=r"vocoder\.json"):
        read_vocoder(tmp_path)
    with pytest.raises(KoeError, match=r"config\.json"):
        import_hifigan(tmp_path / "g_00000001", tmp_path / "config.json")
    try:
        read_json(tmp_path / "any.json")
    except KoeError as error:
        assert "any.json" in str(error)


CHECKPOINTS = {
    "a pickle": lambda marker: pickle.dumps(Malice(marker)),
    "a pickle of protocol 0": lambda marker: pickle.dumps(Malice(marker), 0),
    "a pickle of marks": lambda marker: b"((((((.",
    "an endless pickle": lambda marker: b"\x80\x04" + b"]" * 100000 + b".",
    "a huge text": lambda marker: b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b".",
    "an archive cut short": lambda marker: b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_checkpoints_of_others_are_data(tmp_path: Path, marker: Path, kind: str) -> None:
    from vocoder.test_published import SMALL  # sizes of a generator that is read

    (tmp_path / "g_00000001").write_bytes(CHECKPOINTS[kind](marker))
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    with pytest.raises(KoeError, match="g_00000001"):
        import_hifigan(tmp_path / "g_00000001", tmp_path / "config.json")


def test_a_configuration_of_impossible_size_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    from vocoder.test_published import SMALL

    torch.save({"generator": {}}, tmp_path / "g_00000001")
    for sizes in ({"upsample_initial_channel": 10**9}, {"num_mels": 10**9}, {"resblock_kernel_sizes": [3] * 10**6},
                  {"upsample_rates": [1] * 10**5, "upsample_kernel_sizes": [1] * 10**5}):
        (tmp_path / "config.json").write_text(json.dumps(SMALL | sizes))
        with pytest.raises(KoeError, match=r"config\.json|g_00000001"):
            import_hifigan(tmp_path / "g_00000001", tmp_path / "config.json")


def test_a_purpose_reaches_the_terminal_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    from koe.cli import app

    for name in ("stages", "params.yaml"):
        (tmp_path / name).symlink_to(root / name)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/hostile.yaml").write_text(yaml.safe_dump(
        {"purpose": f"{ESCAPES} {HTML} [bold]x[/bold] [/nothing]", "parameters": {"acoustic.training.steps": 1000}}))
    monkeypatch.chdir(tmp_path)
    for command in (["exp", "list"], ["exp", "show", "hostile"]):
        app(command, standalone_mode=False)
        printed = capsys.readouterr().out
        assert not shows_control_codes(printed), command
        assert "[bold]x" in printed and "taken" in printed, command
