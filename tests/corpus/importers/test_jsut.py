"""JSUT: all nine parts as they unpack."""

from pathlib import Path

import pytest
from support.spoken_sentences import HELLO, WEATHER

from koe.errors import KoeError

PARTS = {"basic5000": ["BASIC5000_0001", "BASIC5000_0002"], "countersuffix26": ["COUNTERSUFFIX26_01"],
         "loanword128": ["LOANWORD128_001"], "onomatopee300": ["ONOMATOPEE300_001"],
         "precedent130": ["PRECEDENT130_001"], "repeat500": ["REPEAT500_set1_001", "REPEAT500_set2_001"],
         "travel1000": ["TRAVEL1000_0001"], "utparaphrase512": ["UT-PARAPHRASE-sent001-phrase1"],
         "voiceactress100": ["VOICEACTRESS100_001"]}


@pytest.fixture()
def jsut(tmp_path: Path, record) -> Path:
    root = tmp_path / "jsut_ver1.1"
    for part, names in PARTS.items():
        for name in names:
            record(root / part / "wav" / f"{name}.wav", WEATHER if name == "BASIC5000_0002" else HELLO, 48000)
        lines = [f"{name}:{WEATHER if name == 'BASIC5000_0002' else HELLO}\n" for name in names]
        (root / part / "transcript_utf8.txt").write_text("".join(lines), encoding="utf-8")
        (root / part / "recording_info.txt").write_text("10/05/2017")
        (root / part / "memo.txt").write_text("")
    for name in ("LICENCE.txt", "README_en.txt", "README_ja.txt"):
        (root / name).write_text("")
    return root


@pytest.mark.parametrize("up", [0, 1])
def test_all_of_it(jsut: Path, run, up: int) -> None:
    result = run("jsut", jsut.parents[up - 1] if up else jsut, target="jsut")
    assert set(result.table.index) == {f"jsut/{name}" for names in PARTS.values() for name in names}
    row = result.table.loc["jsut/BASIC5000_0002"]
    assert tuple(row[["text", "gender", "language", "role", "sample_rate", "format"]]) == (
        WEATHER, "female", "ja", "target", 48000, "WAV/PCM_16")
    assert Path(row["path"]) == jsut / "basic5000/wav/BASIC5000_0002.wav"
    assert result.quarantine == {}
    assert result.about == {"importer": "jsut", "licence": result.about["licence"], "language": "ja"}
    assert "CC BY-SA 4.0" in result.about["licence"] and "non-commercial" in result.about["licence"]


def test_only_some_parts(jsut: Path, run) -> None:
    result = run("jsut", jsut, subsets=["travel1000", "repeat500"])
    assert list(result.table["sentence"]) == ["REPEAT500_set1_001", "REPEAT500_set2_001", "TRAVEL1000_0001"]
    with pytest.raises(KoeError, match=r"corpora\.c\.subsets: there is no 'basic500'; expected some of basic5000, .*"):
        run("jsut", jsut, subsets=["basic500"])
    with pytest.raises(KoeError, match=r"corpora\.c\.source: 'jvs001' is not a speaker of .*; there are jsut"):
        run("jsut", jsut, source="jvs001")


def test_what_is_missing_is_named(jsut: Path, run) -> None:
    (jsut / "basic5000/wav/BASIC5000_0001.wav").unlink()
    (jsut / "basic5000/transcript_utf8.txt").write_text(f"BASIC5000_0001:{HELLO}\nno text here\n\n", encoding="utf-8")
    result = run("jsut", jsut, subsets=["basic5000", "travel1000"])
    assert result.quarantine == {"jsut/BASIC5000_0001": "missing_file"}
    assert "basic5000/wav/BASIC5000_0001.wav" in result.details["jsut/BASIC5000_0001"]
    assert result.column("text")["jsut/BASIC5000_0002"] == ""
    assert result.note("without text").startswith("1 of 2")
    assert "basic5000/transcript_utf8.txt: no NAME:text" in result.note("in 1 lines")
    (jsut / "travel1000/transcript_utf8.txt").rename(jsut / "travel1000/moved.txt")
    with pytest.raises(KoeError, match=r"corpora\.c\.path: looked for .*travel1000/transcript_utf8\.txt; .*"
                                       r"travel1000 holds memo\.txt, moved\.txt, recording_info\.txt, wav"):
        run("jsut", jsut)


def test_a_wrong_path_says_what_lies_there(tmp_path: Path, run) -> None:
    (tmp_path / "somewhere" / "else").mkdir(parents=True)
    with pytest.raises(KoeError, match=r"corpora\.c\.path: looked for .*somewhere/basic5000/transcript_utf8\.txt.*; "
                                       r".*somewhere holds else"):
        run("jsut", tmp_path / "somewhere")
    with pytest.raises(KoeError, match=r"corpora\.c\.path: .*nowhere is not a folder"):
        run("jsut", tmp_path / "nowhere")


def test_one_text_of_several_takes(jsut: Path, run) -> None:
    """match: text names recordings by what is said, and numbers a speaker's takes of it."""
    result = run("jsut", jsut, match="text", subsets=["repeat500", "basic5000"])
    names = sorted(result.table["sentence"])
    assert names[0].startswith("はい-") and names[3].startswith("今日は良い天気ですね-")
    assert names[1:3] == [f"{names[0]}-2", f"{names[0]}-3"]
