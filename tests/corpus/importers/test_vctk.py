"""VCTK: both releases, both microphones, and sentences by text, for the numbers say nothing."""

import shutil
from pathlib import Path

import pytest
from support.spoken_sentences import STELLA, THINGS, YES

from koe.errors import KoeError

TEXTS = {"p225_001": STELLA, "p225_002": THINGS, "p225_100": YES, "p226_001": "Please call Stella", "p226_002": YES,
         "p226_100": THINGS, "p280_001": STELLA, "s5_001": STELLA}
INFO = """ID  AGE  GENDER  ACCENTS  REGION COMMENTS
p225  23  F    English    Southern  England
p226  22  M    English    Surrey
p280  25  F    Unknown    France (mic2 files unavailable)
p315  18  M    American   New  England (Text and mic2 files unavailable)
s5    27  M    Indian
"""


def _texts(root: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        path = root / "txt" / name.split("_")[0] / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


@pytest.fixture()
def vctk092(tmp_path: Path, record) -> Path:
    root = tmp_path / "VCTK-Corpus-0.92"
    for name in (*TEXTS, "p315_001"):
        for microphone in ("mic1",) if name.startswith(("p280", "p315")) else ("mic1", "mic2"):
            record(root / "wav48_silence_trimmed" / name.split("_")[0] / f"{name}_{microphone}.flac", YES, 48000)
    (root / "wav48_silence_trimmed/p225/log.txt").write_text("")
    _texts(root, TEXTS)
    (root / "speaker-info.txt").write_text(INFO)
    return root


@pytest.fixture()
def vctk080(tmp_path: Path, record) -> Path:
    root = tmp_path / "VCTK-Corpus"
    for name in ("p225_001", "p225_002", "p226_001", "p315_001"):
        record(root / "wav48" / name.split("_")[0] / f"{name}.wav", YES, 48000)
    _texts(root, {name: TEXTS[name] for name in ("p225_001", "p225_002", "p226_001")})
    (root / "speaker-info.txt").write_text(
        "ID  AGE  GENDER  ACCENTS  REGION\n225  23  F    English    Southern  England\n"
        "226  22  M    English    Surrey\n")
    return root


@pytest.mark.parametrize("up", [0, 1])
def test_092_pairs_by_text_not_by_number(vctk092: Path, run, up: int) -> None:
    result = run("vctk", vctk092.parent if up else vctk092, source="p225", target="p226")
    names = {Path(path).name: sentence for path, sentence in
             zip(result.table["path"], result.table["sentence"], strict=True)}
    assert names["p225_001_mic1.flac"] == names["p226_001_mic1.flac"] == names["s5_001_mic1.flac"]
    assert names["p225_100_mic1.flac"] == names["p226_002_mic1.flac"] != names["p226_100_mic1.flac"]
    assert names["p225_001_mic1.flac"].startswith("pleasecallstella-")
    assert names["p315_001_mic1.flac"] == "p315_001"
    assert result.table.groupby("speaker")["gender"].first().to_dict() == {
        "p225": "female", "p226": "male", "p280": "female", "p315": "male", "s5": "male"}
    assert (result.quarantine, len(names)) == ({}, len(TEXTS) + 1)
    assert result.column("format")["p315/p315_001"] == "FLAC/PCM_16"
    assert result.note("without text").startswith("1 of 9")
    assert result.about["licence"] == "VCTK 0.92: CC BY 4.0"


def test_092_by_the_other_microphone(vctk092: Path, run) -> None:
    result = run("vctk", vctk092, microphone="mic2")
    assert {Path(path).stem[-5:] for path in result.table["path"]} == {"_mic2"}
    assert set(result.table["speaker"]) == {"p225", "p226", "s5"}
    assert list(result.quarantine.values()) == ["missing_file"]
    assert "p280_001_mic2.flac" in next(iter(result.details.values()))
    assert result.note("mic2") == "no mic2 recordings of p280, p315"


def test_080(vctk080: Path, run) -> None:
    (vctk080 / "wav48/p225/p225_002.wav").unlink()
    result = run("vctk", vctk080, match="name")
    assert result.column("gender") == {"p225/p225_001": "female", "p226/p226_001": "male", "p315/p315_001": ""}
    assert result.quarantine == {"p225/p225_002": "missing_file"}
    assert "ODC-By" in result.about["licence"]
    with pytest.raises(KoeError, match=r"corpora\.c\.microphone: .*VCTK-Corpus is VCTK 0\.80"):
        run("vctk", vctk080, microphone="mic1")


def test_two_releases_side_by_side_are_not_guessed_at(vctk080: Path, vctk092: Path, run) -> None:
    with pytest.raises(KoeError, match=r"corpora\.c\.path: .* holds several: VCTK-Corpus, VCTK-Corpus-0\.92; name one"):
        run("vctk", vctk080.parent)
    (vctk080 / "speaker-info.txt").unlink()
    with pytest.raises(KoeError, match=r"corpora\.c\.path: looked for .*speaker-info\.txt; .* holds txt, wav48"):
        run("vctk", vctk080)


def test_texts_that_cannot_be_read(vctk080: Path, run) -> None:
    (vctk080 / "txt/p226/p226_001.txt").write_bytes(b"caf\xe9")
    assert run("vctk", vctk080).quarantine == {"p226/p226_001": "unreadable_text"}


def test_no_file_is_passed_over(vctk092: Path, run) -> None:
    folder = vctk092 / "wav48_silence_trimmed" / "p225"
    (folder / "p225_002_mic1.flac").rename(folder / "p225_002.flac")
    shutil.copy(folder / "p225_001_mic1.flac", folder / "p225_001_mic1.FLAC")
    result = run("vctk", vctk092, speakers=["p225"], match="name")
    assert result.quarantine == {"p225/p225_001": "sentence_twice", "p225/p225_002": "missing_file"}
    assert result.note("neither microphone") == "1 files are of neither microphone: p225_002.flac"
