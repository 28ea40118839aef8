"""LJ Speech: a file with bars and quotation marks that are not quoting."""

from pathlib import Path

import pytest
from support.spoken_sentences import STELLA, YES

from koe.errors import KoeError


@pytest.fixture()
def ljspeech(tmp_path: Path, record) -> Path:
    root = tmp_path / "LJSpeech-1.1"
    for name in ("LJ001-0001", "LJ001-0002", "LJ001-0003"):
        record(root / "wavs" / f"{name}.wav", YES, 22050)
    (root / "metadata.csv").write_text(
        'LJ001-0001|"Call 2 Dr. Stella,|"Call two Doctor Stella,\n'
        "LJ001-0002|in being comparatively modern.|in being comparatively modern.\n"
        f"LJ001-0003|{STELLA}|\n"
        "LJ001-0004|Not there.|Not there.\n", encoding="utf-8")
    (root / "README").write_text("")
    return root


@pytest.mark.parametrize("up", [0, 1])
def test_all_of_it(ljspeech: Path, run, up: int) -> None:
    result = run("ljspeech", ljspeech.parent if up else ljspeech)
    assert result.column("text") == {"LJ/LJ001-0001": '"Call two Doctor Stella,', "LJ/LJ001-0003": STELLA,
                                     "LJ/LJ001-0002": "in being comparatively modern."}
    assert result.quarantine == {"LJ/LJ001-0004": "missing_file"}
    assert set(result.table["gender"]) == {"female"} and result.about["language"] == "en"
    assert result.about["licence"] == "LJ Speech 1.1: public domain"


def test_without_metadata(ljspeech: Path, run) -> None:
    (ljspeech / "metadata.csv").unlink()
    with pytest.raises(KoeError, match=r"corpora\.c\.path: looked for .*/metadata\.csv.* holds README, wavs"):
        run("ljspeech", ljspeech)


def test_a_list_of_files_instead_of_names(ljspeech: Path, run) -> None:
    lines = (ljspeech / "metadata.csv").read_text().replace("-0001|", "-0001.wav|").replace("Stella|", "Stella\u2028|")
    lines = lines.replace("LJ001-0002", "wavs/lj001-0002")
    (ljspeech / "metadata.csv").write_text(lines, encoding="utf-8")
    result = run("ljspeech", ljspeech)
    assert result.column("text") == {"LJ/LJ001-0001": '"Call two Doctor Stella,', "LJ/LJ001-0003": STELLA,
                                     "LJ/LJ001-0002": "in being comparatively modern."}
    assert result.quarantine == {"LJ/LJ001-0004": "missing_file"}
    assert result.note("have no file") == "1 listed recordings have no file: LJ/LJ001-0004"


def test_audio_of_an_unknown_suffix_is_a_row_here_too(ljspeech: Path, run) -> None:
    (ljspeech / "wavs" / "LJ001-0003.wav").rename(ljspeech / "wavs" / "LJ001-0003.foo")
    assert run("ljspeech", ljspeech).quarantine == {
        "LJ/LJ001-0003": "missing_file", "LJ/LJ001-0004": "missing_file", "LJ/LJ001-0003.foo": "unknown_format"}
