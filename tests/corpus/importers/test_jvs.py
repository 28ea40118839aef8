"""JVS: styles, lists of candidates, and every error that is known of it."""

from pathlib import Path

import pytest
import soundfile
from support.spoken_sentences import HELLO, THANKS, WEATHER

from koe.errors import KoeError


def _part(root: Path, record, speaker: str, part: str, files: list[str], names: list[str] | None = None) -> None:
    """A part with these files, and a transcript of these names (the files' without)."""
    folder = root / speaker / part
    for file in files:
        record(folder / "wav24kHz16bit" / f"{file}.wav", HELLO, voice="m001" if speaker == "jvs001" else "mei")
    (folder / "wav24kHz16bit").mkdir(parents=True, exist_ok=True)
    (folder / "transcripts_utf8.txt").write_text("".join(f"{name}:{HELLO}\n" for name in names or files),
                                                 encoding="utf-8")


def _speaker(root: Path, record, speaker: str, parallel: list[int]) -> None:
    _part(root, record, speaker, "parallel100", [f"VOICEACTRESS100_{number:03d}" for number in parallel])
    _part(root, record, speaker, "nonpara30", ["BASIC5000_0025"], ["BASIC5000_0025", "BASIC5000_0034"])
    _part(root, record, speaker, "whisper10", ["VOICEACTRESS100_001"])
    _part(root, record, speaker, "falset10", ["VOICEACTRESS100_001", "BASIC5000_0025"])


@pytest.fixture()
def jvs(tmp_path: Path, record) -> Path:
    root = tmp_path / "jvs_ver1"
    for speaker in ("jvs001", "jvs002"):
        _speaker(root, record, speaker, [1, 2])
    (root / "gender_f0range.txt").write_text(
        "speaker Male_or_Female minf0[Hz] maxf0[Hz]\njvs001 M 70 240\njvs002 F 120 450\njvs003 M 70 240\n")
    return root


@pytest.mark.parametrize("up", [0, 1])
def test_parts_and_styles(jvs: Path, run, up: int) -> None:
    result = run("jvs", jvs.parent if up else jvs, source="jvs002", target="jvs001")
    expected = {"VOICEACTRESS100_001", "VOICEACTRESS100_002", "BASIC5000_0025", "VOICEACTRESS100_001/whisper",
                "VOICEACTRESS100_001/falsetto", "BASIC5000_0025/falsetto"}
    assert set(result.table.index) == {f"{speaker}/{name}" for speaker in ("jvs001", "jvs002") for name in expected}
    assert result.quarantine == {}
    whispered = result.table.loc["jvs002/VOICEACTRESS100_001/whisper"]
    assert tuple(whispered[["sentence", "style"]]) == ("VOICEACTRESS100_001", "whisper")
    assert Path(whispered["path"]) == jvs / "jvs002/whisper10/wav24kHz16bit/VOICEACTRESS100_001.wav"
    assert tuple(whispered[["gender", "role", "text", "language"]]) == ("female", "source", HELLO, "ja")
    assert (result.table.loc["jvs001/VOICEACTRESS100_001", ["gender", "role"]]).tolist() == ["male", "target"]
    assert result.note("nonpara30").startswith("2 candidates")
    assert result.note("gender_f0range.txt") == "1 speakers of gender_f0range.txt have no folder, e.g. jvs003"
    assert "CC BY-SA 4.0" in result.about["licence"]


def test_some_speakers_and_parts(jvs: Path, run) -> None:
    result = run("jvs", jvs, speakers=["jvs002"], subsets=["whisper10"])
    assert list(result.table.index) == ["jvs002/VOICEACTRESS100_001/whisper"]
    with pytest.raises(KoeError, match=r"corpora\.c\.speakers: 'jvs200' is not a speaker.*; there are jvs001, jvs002"):
        run("jvs", jvs, speakers=["jvs001", "jvs200"])


def test_names_by_text_keep_the_style(jvs: Path, run) -> None:
    result = run("jvs", jvs, match="text", speakers=["jvs001"], subsets=["parallel100", "whisper10"])
    assert list(result.table["style"]) == ["", "", "whisper"]
    first, second, whispered = result.table["sentence"]
    assert (whispered, second) == (first, f"{first}-2")


def test_files_that_were_never_published(jvs: Path, record, run) -> None:
    _speaker(jvs, record, "jvs030", [44])
    _part(jvs, record, "jvs030", "parallel100", ["VOICEACTRESS100_044"], ["VOICEACTRESS100_044", "VOICEACTRESS100_045"])
    result = run("jvs", jvs, speakers=["jvs030"], subsets=["parallel100"])
    assert result.quarantine == {"jvs030/VOICEACTRESS100_045": "missing_file"}


def test_recordings_that_say_something_else(jvs: Path, record, run) -> None:
    _speaker(jvs, record, "jvs009", [85, 86, 95])
    result = run("jvs", jvs, speakers=["jvs009"], subsets=["parallel100"])
    assert list(result.table["sentence"]) == ["VOICEACTRESS100_085"]
    assert result.quarantine == {f"jvs009/VOICEACTRESS100_0{number}": "known_error" for number in (86, 95)}
    assert run("jvs", jvs, speakers=["jvs001", "jvs002"]).quarantine == {}


def test_misnumbered_files_of_jvs058(jvs: Path, record, run) -> None:
    """File 014 holds two sentences, and the next seven files are one sentence further on."""
    _speaker(jvs, record, "jvs058", [13, *range(14, 24)])
    folder = jvs / "jvs058/parallel100/wav24kHz16bit"
    soundfile.write(folder / "VOICEACTRESS100_014.wav", [0.1] * 24000 * 8, 24000)
    result = run("jvs", jvs, speakers=["jvs058"], subsets=["parallel100"])
    files = {sentence[-3:]: Path(path).stem[-3:] for sentence, path in
             zip(result.table["sentence"], result.table["path"], strict=True)}
    assert files == {"013": "013", "014": "014", "015": "014", "016": "015", "017": "016", "018": "017", "019": "018",
                     "020": "019", "021": "020", "022": "021", "023": "023"}
    assert result.column("end")["jvs058/VOICEACTRESS100_014"] == 3.53
    assert result.column("start")["jvs058/VOICEACTRESS100_015"] == 3.94
    assert result.column("seconds")["jvs058/VOICEACTRESS100_015"] == pytest.approx(8 - 3.94)
    assert result.quarantine == {"jvs058/VOICEACTRESS100_022-surplus": "known_error"}
    (folder / "VOICEACTRESS100_015.wav").unlink()  # what is left after jvs_hiho's script has renamed the files
    result = run("jvs", jvs, speakers=["jvs058"], subsets=["parallel100"])
    assert result.column("path")["jvs058/VOICEACTRESS100_022"].endswith("_022.wav")
    assert result.quarantine == {"jvs058/VOICEACTRESS100_015": "missing_file"}


def test_misnamed_falsetto_files(jvs: Path, record, run) -> None:
    for speaker, files, names in (
        ("jvs001", ["BASIC5000_0235", "VOICEACTRESS100_001"], ["BASIC5000_1818", "VOICEACTRESS100_001"]),
        ("jvs088", ["001", "007"], ["VOICEACTRESS100_001", "BASIC5000_0284"]),
    ):
        _part(jvs, record, speaker, "falset10", files, names)
        if speaker == "jvs001":
            (jvs / speaker / "falset10/wav24kHz16bit/BASIC5000_0025.wav").unlink()
        result = run("jvs", jvs, speakers=[speaker], subsets=["falset10"])
        assert result.quarantine == {}
        assert {Path(path).stem: sentence for path, sentence in
                zip(result.table["path"], result.table["sentence"], strict=True)} == {
            file: name for file, name in zip(files, names, strict=True)}
        assert set(result.table["text"]) == {HELLO} and set(result.table["style"]) == {"falsetto"}


def test_a_missing_transcript_is_named(jvs: Path, run) -> None:
    (jvs / "jvs002/whisper10/transcripts_utf8.txt").unlink()
    with pytest.raises(KoeError, match=r"corpora\.c\.path: looked for .*jvs002/whisper10/transcripts_utf8\.txt; .*"):
        run("jvs", jvs)
    (jvs / "gender_f0range.txt").unlink()
    with pytest.raises(KoeError, match=r"corpora\.c\.path: looked for .*gender_f0range\.txt.* holds jvs001, jvs002"):
        run("jvs", jvs)


def test_sentences_pair_with_jsut_by_name(jvs: Path, record, run) -> None:
    jsut = jvs.parent / "jsut_ver1.1/voiceactress100"
    record(jsut / "wav/VOICEACTRESS100_001.wav", THANKS, 48000)
    (jsut / "transcript_utf8.txt").write_text(f"VOICEACTRESS100_001:{WEATHER}\n", encoding="utf-8")
    result = run("jsut", jsut.parent, subsets=["voiceactress100"])
    assert set(result.table["sentence"]) <= set(run("jvs", jvs, subsets=["parallel100"]).table["sentence"])
