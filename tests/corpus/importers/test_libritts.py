"""LibriTTS and LibriTTS-R: parts that come one by one, texts beside the recordings."""

from pathlib import Path

import pytest
from support.spoken_sentences import STELLA, YES

from koe.errors import KoeError

NAMES = {"train-clean-100": ["103_1241_000000_000001", "1034_121119_000005_000002"],
         "dev-clean": ["84_121123_000007_000001", "84_121123_000008_000000"]}


def _tree(root: Path, record) -> Path:
    for part, names in NAMES.items():
        for name in names:
            reader, chapter = name.split("_")[:2]
            folder = root / part / reader / chapter
            record(folder / f"{name}.wav", YES)
            (folder / f"{name}.normalized.txt").write_text(STELLA)
            (folder / f"{name}.original.txt").write_text("Please call St.")
            (folder / f"{reader}_{chapter}.trans.tsv").write_text("")
    return root


@pytest.fixture()
def libritts(tmp_path: Path, record) -> Path:
    root = _tree(tmp_path / "LibriTTS", record)
    (root / "SPEAKERS.txt").write_text(
        ";ID  |SEX| SUBSET           |MINUTES| NAME\n84   | F | dev-clean        |  8.02 | Christie Nowak\n"
        "103  | F | train-clean-100  | 30.10 | Karen Savage\n1034 | M | train-clean-100  | 25.11 | Kevin O'Coin\n")
    return root


@pytest.mark.parametrize("up", [0, 1])
def test_the_parts_that_are_there(libritts: Path, run, up: int) -> None:
    result = run("libritts", libritts.parent if up else libritts)
    assert result.column("gender") == {
        "103/103_1241_000000_000001": "female", "1034/1034_121119_000005_000002": "male",
        "84/84_121123_000007_000001": "female", "84/84_121123_000008_000000": "female"}
    assert set(result.table["text"]) == {STELLA} and set(result.table["sample_rate"]) == {24000}
    assert (result.quarantine, result.about["licence"]) == ({}, "LibriTTS and LibriTTS-R: CC BY 4.0")


def test_some_parts_and_readers(libritts: Path, run) -> None:
    assert set(run("libritts", libritts, subsets=["dev-clean"]).table["speaker"]) == {"84"}
    assert set(run("libritts", libritts, speakers=["1034"]).table["speaker"]) == {"1034"}
    with pytest.raises(KoeError, match=r"corpora\.c\.speakers: '85' is not a speaker.*; there are 84, 103, 1034"):
        run("libritts", libritts, speakers=["85"])
    with pytest.raises(KoeError, match=r"corpora\.c\.path: looked for .*test-other; .*LibriTTS holds SPEAKERS\.txt"):
        run("libritts", libritts, subsets=["dev-clean", "test-other"])


def test_libritts_r(tmp_path: Path, record, run) -> None:
    root = _tree(tmp_path / "LibriTTS_R", record)
    result = run("libritts", root)
    assert set(result.table["gender"]) == {""}
    assert result.note("genders").startswith("no speakers.tsv or SPEAKERS.txt in")
    (root / "speakers.tsv").write_text("READER\tGENDER\tSUBSET\tNAME\n84\tF\tdev-clean\tChristie Nowak\n"
                                       "1034\tM\ttrain-clean-100\tKevin O'Coin\n")
    failed = tmp_path / "libritts_r_failed_speech_restoration_examples" / "dev-clean_bad_sample_list.txt"
    failed.parent.mkdir()
    failed.write_text("./dev-clean/84/121123/84_121123_000008_000000.wav\n")
    result = run("libritts", tmp_path)
    assert result.column("gender") == {"103/103_1241_000000_000001": "", "1034/1034_121119_000005_000002": "male",
                                       "84/84_121123_000007_000001": "female"}
    assert result.quarantine == {"84/84_121123_000008_000000": "known_error"}


def test_a_recording_without_text(libritts: Path, run) -> None:
    next(libritts.glob("dev-clean/*/*/*_000008_*.normalized.txt")).unlink()
    assert run("libritts", libritts).note("without text").startswith("1 of 4")


def test_texts_without_a_recording_are_named(libritts: Path, run) -> None:
    (libritts / "dev-clean/84/121123/84_121123_000008_000000.wav").unlink()
    result = run("libritts", libritts)
    assert result.note("texts without") == "1 texts without a recording: 84_121123_000008_000000.normalized.txt"
