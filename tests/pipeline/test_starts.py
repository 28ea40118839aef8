"""What the scan records of a model to start from, so that DVC sees when it changes."""

from pathlib import Path

import pytest
from scan import scan_initial

from koe.errors import ContractError, KoeError
from koe.files import read_json
from koe.pipeline.models import find_model
from koe.tasks.conversion.model_kind import ACOUSTIC
from koe.training.references import ModelKind
from koe.vocoder.model_kind import VOCODER

SHIPPED = "models/pretrained/universal"


def record_of(kind: ModelKind) -> Path:
    return Path(f"data/scan/{kind.section}.init.json")


KINDS = pytest.mark.parametrize("kind", [ACOUSTIC, VOCODER])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a model of either kind in SHIPPED, and the process in it."""
    folder = tmp_path / SHIPPED
    folder.mkdir(parents=True)
    for kind in (ACOUSTIC, VOCODER):
        (folder / kind.card).write_text("{}")
    monkeypatch.chdir(tmp_path)
    return folder


@KINDS
def test_other_weights_in_the_same_folder_change_the_record_of_their_kind_alone(kind: ModelKind, here: Path) -> None:
    digests = []
    for weights in (b"one", b"other"):
        (here / "generator.safetensors").write_bytes(weights)
        scan_initial(kind, {"from": SHIPPED}, None, record_of(kind))
        record = read_json(record_of(kind))
        assert record["from"] == SHIPPED
        digests.append(record["digest"])
    assert digests[0] != digests[1]
    assert len(list(Path("data/scan").iterdir())) == 1


@KINDS
def test_of_a_model_that_is_not_here_the_record_stays(
    kind: ModelKind, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan_initial(kind, {"from": SHIPPED}, None, record_of(kind))
    record = read_json(record_of(kind))
    here.rename("elsewhere")
    scan_initial(kind, {"from": SHIPPED}, None, record_of(kind))
    assert f"{kind.section}.init.from: {SHIPPED} is not on this machine" in capsys.readouterr().out
    assert read_json(record_of(kind)) == record
    with pytest.raises(KoeError, match=rf"{kind.section}\.init\.from: models/other: there is no such folder"):
        scan_initial(kind, {"from": "models/other"}, None, record_of(kind))


@KINDS
def test_lesson_13_a_start_of_other_mels_is_refused_before_any_recording_is_read(kind: ModelKind, here: Path) -> None:
    (here / kind.card).write_text('{"contract": {"n_mels": 80}}')
    with pytest.raises(ContractError, match=rf"n_mels: 80 in {kind.section}\.init\.from .*, 100 in params\.yaml\n.*"
                                            rf"random weights, with {kind.section}\.init\.from: null"):
        scan_initial(kind, {"from": SHIPPED, "strict": True}, {"n_mels": 100}, record_of(kind))
    assert not record_of(kind).exists()
    for init, mel in (({"strict": False}, 100), ({}, 80)):
        scan_initial(kind, {"from": SHIPPED, **init}, {"n_mels": mel}, record_of(kind))
        assert read_json(record_of(kind))["from"] == SHIPPED


@KINDS
def test_what_the_training_writes_is_no_start(kind: ModelKind, here: Path) -> None:
    here.rename(f"models/{kind.section}")
    refused = rf"{kind.section}\.init\.from: .* is the folder that the training run writes, which is removed"
    with pytest.raises(KoeError, match=refused):
        find_model(kind, f"models/{kind.section}@best")


def test_a_model_of_another_pipeline_is_a_start(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here.rename("models/vocoder")
    below = Path("pipelines/universal")
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert find_model(VOCODER, "../../models/vocoder").folder == Path("../../models/vocoder")
    with pytest.raises(KoeError, match="models/vocoder is the folder that the training"):
        find_model(VOCODER, "models/vocoder")
