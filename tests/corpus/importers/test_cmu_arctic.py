"""CMU ARCTIC: an archive a speaker, the same prompts."""

import os
from pathlib import Path

import pytest
from support.spoken_sentences import STELLA, YES

from koe.errors import KoeError


@pytest.fixture()
def arctic(tmp_path: Path, record) -> Path:
    root = tmp_path / "ARCTIC"
    for speaker in ("slt", "bdl"):
        folder = root / f"cmu_us_{speaker}_arctic"
        for name in ("arctic_a0001", "arctic_a0002"):
            record(folder / "wav" / f"{name}.wav", YES, 16000)
        (folder / "etc").mkdir()
        (folder / "etc" / "txt.done.data").write_text(
            f'( arctic_a0001 "{STELLA}" )\n( arctic_a0002 "\\"Yes,\\" he said." )\n( arctic_b0539 "Not there." )\n')
    return root


@pytest.mark.parametrize("path", ["ARCTIC", "."])
def test_all_of_it(arctic: Path, run, path: str) -> None:
    result = run("cmu_arctic", arctic.parent / path, source="bdl", target="slt")
    assert result.column("gender") == {"bdl/arctic_a0001": "male", "bdl/arctic_a0002": "male",
                                       "slt/arctic_a0001": "female", "slt/arctic_a0002": "female"}
    assert result.column("text")["slt/arctic_a0002"] == '"Yes," he said.'
    assert result.quarantine == {"bdl/arctic_b0539": "missing_file", "slt/arctic_b0539": "missing_file"}
    assert not any("not the same text" in note for note in result.notes)
    assert "Carnegie Mellon" in result.about["licence"]


def test_one_speakers_folder(arctic: Path, run) -> None:
    assert set(run("cmu_arctic", arctic / "cmu_us_slt_arctic").table["speaker"]) == {"slt"}


def test_sentences_in_other_words_are_noted(arctic: Path, run) -> None:
    (arctic / "cmu_us_slt_arctic/etc/txt.done.data").write_text(
        '( arctic_a0001 "please call stella" )\n( arctic_a0002 "No, he said." )\nodd\n')
    result = run("cmu_arctic", arctic)
    assert result.note("not the same text").startswith("1 sentences are not the same text for all speakers, "
                                                       "e.g. arctic_a0002")
    assert "in 1 lines" in result.note("cmu_us_slt_arctic/etc/txt.done.data")


def test_nothing_there(tmp_path: Path, run) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(KoeError, match=r"corpora\.c\.path: looked for .*/cmu_us_<speaker>_arctic/etc/txt\.done\.data; "
                                       r".*other holds nothing"):
        run("cmu_arctic", tmp_path / "other")


def test_odd_entries_stop_nothing(arctic: Path, run) -> None:
    for folder in (arctic, arctic / "cmu_us_slt_arctic", arctic / "cmu_us_slt_arctic" / "wav"):
        os.mkfifo(folder / "pipe")
        (folder / "loop").symlink_to("loop")
        (folder / "long").symlink_to("x" * 300)
    os.mkfifo(arctic / "cmu_us_slt_arctic" / "wav" / "arctic_b0539.wav")
    quarantine = run("cmu_arctic", arctic, speakers=["slt"]).quarantine
    assert quarantine == {"slt/arctic_b0539": "not_a_file", "slt/pipe (without suffix)": "not_a_file",
                          "slt/loop (without suffix)": "unreadable", "slt/long (without suffix)": "unreadable"}
