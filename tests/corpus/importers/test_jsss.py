"""JSSS: short sentences that share JSUT's names, and long recordings with labels."""

from pathlib import Path

import pytest
import soundfile
from support.spoken_sentences import HELLO, WEATHER

from koe.errors import KoeError


@pytest.fixture()
def jsss(tmp_path: Path, record) -> Path:
    root = tmp_path / "jsss_ver1"
    for part, name in {"short-form/basic5000": "BASIC5000_0001", "short-form/onomatopee300": "ONOMATOPEE300_001",
                       "short-form/voiceactress100": "VOICEACTRESS100_001",
                       "simplification": "SIMPLIFICATION_001"}.items():
        record(root / part / "wav24kHz16bit" / f"{name}.wav", HELLO)
        (root / part / "transcript_utf8.txt").write_text(f"{name}:{HELLO}\n", encoding="utf-8")
    for part, name in {"long-form/katsura-masakazu": "KATSURA-MASAKAZU_001", "long-form/udon": "UDON_001",
                       "long-form/washington-dc": "WASHINGTON-DC_001",
                       "summarization": "SUMMARIZATION_it-life-hack_063"}.items():
        seconds = record(root / part / "wav24kHz16bit" / f"{name}.wav", WEATHER)
        (root / part / "transcript_utf8").mkdir()
        (root / part / "transcript_utf8" / f"{name}.txt").write_text(
            f"0.100000\t0.600000\t今日は\n0.700000\t{seconds:.6f}\t良い天気ですね。\n", encoding="utf-8")
    return root


def test_all_of_it(jsss: Path, run) -> None:
    result = run("jsss", jsss)
    long = [f"{name}-{number}" for name in ("KATSURA-MASAKAZU_001", "SUMMARIZATION_it-life-hack_063", "UDON_001",
                                            "WASHINGTON-DC_001") for number in ("01", "02")]
    short = ["BASIC5000_0001", "ONOMATOPEE300_001", "SIMPLIFICATION_001", "VOICEACTRESS100_001"]
    assert sorted(result.table["sentence"]) == sorted(long + short)
    assert result.quarantine == {}
    assert set(result.table["speaker"]) == {"jsss"} and set(result.table["gender"]) == {"female"}
    first, second = (result.table.loc[f"jsss/UDON_001-0{number}"] for number in (1, 2))
    assert (first["start"], first["end"], first["seconds"], first["text"]) == (0.1, 0.6, 0.5, "今日は")
    length = soundfile.info(second["path"]).duration
    assert second["seconds"] == pytest.approx(length - 0.7, abs=1e-4)
    assert second["path"] == first["path"]
    assert result.table.loc["jsss/BASIC5000_0001", ["start", "end"]].isna().all()


def test_quirks_are_listed(jsss: Path, run) -> None:
    labels = jsss / "long-form/udon/transcript_utf8/UDON_001.txt"
    labels.write_text("0.1\t0.6\t今日は\n0.7\t99.0\t良い\nnot a label\n", encoding="utf-8")
    (jsss / "long-form/washington-dc/wav24kHz16bit/WASHINGTON-DC_001.wav").rename(
        jsss / "long-form/washington-dc/wav24kHz16bit/WASHINGTON-DC_002.wav")
    result = run("jsss", jsss, subsets=["udon", "washington-dc"])
    assert result.quarantine == {"jsss/UDON_001-02": "outside_its_file", "jsss/WASHINGTON-DC_001-01": "missing_file",
                                 "jsss/WASHINGTON-DC_001-02": "missing_file"}
    assert result.column("text") == {"jsss/UDON_001-01": "今日は", "jsss/WASHINGTON-DC_002": ""}
    assert "UDON_001.txt: no start<TAB>end<TAB>text in 1 lines" in result.note("UDON_001")
    labels.parent.rename(labels.parent.with_name("labels"))
    with pytest.raises(KoeError, match=r"corpora\.c\.path: looked for .*udon/transcript_utf8; .*udon holds labels"):
        run("jsss", jsss)
