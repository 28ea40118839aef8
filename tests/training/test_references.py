"""What `init.from` names is found, or the message says what there is."""

from pathlib import Path
from typing import Any

import pytest

from koe.errors import KoeError, StoreError
from koe.files import write_json
from koe.tasks.conversion.model_kind import ACOUSTIC
from koe.training.references import ModelKind, ModelReference, find_reference, split_reference
from koe.vocoder.model_kind import VOCODER


@pytest.mark.parametrize(("text", "where", "checkpoint"), [
    ("models/base", "models/base", None), ("models/base@500", "models/base", "00000500"), ("base@best", "base", "best"),
    ("acoustic@v1.0.0", "acoustic@v1.0.0", None), ("acoustic@v1.0.0@best", "acoustic@v1.0.0", "best"),
    ("HEAD@{1}", "HEAD@{1}", None),
])
def test_a_reference_is_a_place_and_a_checkpoint(text: str, where: str, checkpoint: str | None) -> None:
    assert split_reference(text) == (where, checkpoint)


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    """A model of run acoustic-1, of which two steps and the best were kept in work/."""
    return made(tmp_path / "model", {"run": "acoustic-1", "revision": "abc", "steps": 800, "inputs": "long"})


def made(folder: Path, provenance: dict[str, Any]) -> Path:
    write_json(folder / "model.json", {"provenance": provenance})
    (folder / "model.safetensors").write_bytes(b"weights")
    kept = folder.parent / "work" / "acoustic-1" / "kept"
    kept.mkdir(parents=True, exist_ok=True)
    for label in ("00000500", "00001000", "best"):
        (kept / f"{label}.safetensors").write_bytes(label.encode())
    return folder


def find(folder: Path, checkpoint: str = "") -> ModelReference:
    return find_reference(f"base{checkpoint}", folder, [folder.parent / "elsewhere", folder.parent / "work"], ACOUSTIC)


@pytest.mark.parametrize(("text", "file"), [("@500", "00000500"), ("@0500", "00000500"), ("@best", "best")])
def test_lesson_21_a_kept_checkpoint_is_found_by_step_or_as_the_best(folder: Path, text: str, file: str) -> None:
    found = find(folder, text)
    assert found.checkpoint == folder.parent / f"work/acoustic-1/kept/{file}.safetensors"
    assert find(folder).checkpoint is None


def test_lesson_21_of_a_step_that_was_not_kept_the_others_are_named(folder: Path) -> None:
    with pytest.raises(KoeError, match=r"acoustic\.init\.from: base@700: .*acoustic-1 .*; there are 500, 1000, best$"):
        find(folder, "@700")


@pytest.mark.parametrize("kind", [ACOUSTIC, VOCODER])
def test_messages_name_the_kinds_own_parameters_and_card(tmp_path: Path, kind: ModelKind) -> None:
    def find(provenance: dict[str, str]) -> ModelReference:
        write_json(tmp_path / kind.card, {"provenance": provenance, "steps": 8})
        return find_reference("base@500", tmp_path, [tmp_path / "work"], kind)

    with pytest.raises(StoreError, match=rf"{kind.section}\.init\.from: .*{kind.card} does not exist; name the folder"):
        find_reference("base", tmp_path, [], kind)
    with pytest.raises(KoeError, match=rf"{kind.section}\.init\.from: .*{kind.card} does not say which run"):
        find({})
    with pytest.raises(KoeError, match=rf"none of that run .*{kind.section}\.training\.keep_every and keep_best"):
        find({"run": "one-1"})
    assert find_reference("base", tmp_path, [], kind).origin()["steps"] == 8


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"acoustic\.init\.from: .*model\.json does not exist"):
        find(tmp_path)


def test_the_digest_is_of_contents_wherever_they_lie(folder: Path, tmp_path: Path) -> None:
    digest = find(folder).digest
    assert find(folder.rename(tmp_path / "moved")).digest == digest
    (tmp_path / "moved" / "model.safetensors").write_bytes(b"other weights")
    assert find(tmp_path / "moved").digest != digest


def test_the_digest_is_of_the_checkpoint_too(folder: Path) -> None:
    assert len({find(folder, checkpoint).digest for checkpoint in ("", "@500", "@1000")}) == 3


def test_lesson_01_a_model_says_what_it_started_from(folder: Path) -> None:
    found = find(folder, "@500")
    assert found.origin() == {"from": "base@500", "digest": found.digest, "run": "acoustic-1", "revision": "abc",
                              "steps": 800}
