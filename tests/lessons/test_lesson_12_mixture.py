"""Corpora were collected, renamed and mixed by hand: here they are named in the parameters, and counted."""

from pathlib import Path

import pytest
from support.spoken_sentences import HELLO, STELLA, THANKS, WEATHER, record
from typer.testing import CliRunner

from koe.align.pairs import align_pairs
from koe.cli import app
from koe.corpus.dataset import Dataset
from koe.corpus.extraction import extract_corpus
from koe.corpus.importers.registry import import_corpus
from koe.corpus.pairing import directions_of, pair_corpora
from koe.corpus.params import CorpusParams
from koe.corpus.resampling import resample_corpus
from koe.corpus.trimming import trim_corpus
from koe.files import write_json
from koe.report.checks import count_data
from koe.tasks.conversion.schema import Params

TEXTS = {f"VOICEACTRESS100_{number:03d}": text for number, text in enumerate((HELLO, THANKS, WEATHER), start=1)}


def _lay_out(root: Path) -> dict[str, CorpusParams]:
    """JSUT, two speakers of JVS, and LJ Speech, as their publishers pack them, a few sentences of each."""
    lines = "".join(f"{name}:{text}\n" for name, text in TEXTS.items())
    for name, text in TEXTS.items():
        record(root / f"jsut_ver1.1/voiceactress100/wav/{name}.wav", text, 48000)
        for speaker, voice in (("jvs001", "m001"), ("jvs002", "mei_slow")):
            record(root / f"jvs_ver1/{speaker}/parallel100/wav24kHz16bit/{name}.wav", text, 24000, voice)
    (root / "jsut_ver1.1/voiceactress100/transcript_utf8.txt").write_text(lines, encoding="utf-8")
    for speaker in ("jvs001", "jvs002"):
        (root / f"jvs_ver1/{speaker}/parallel100/transcripts_utf8.txt").write_text(lines, encoding="utf-8")
    (root / "jvs_ver1/gender_f0range.txt").write_text("speaker Male_or_Female minf0[Hz] maxf0[Hz]\njvs001 M 70 240\n"
                                                      "jvs002 F 120 450\n")
    record(root / "LJSpeech-1.1/wavs/LJ001-0001.wav", STELLA, 22050)
    (root / "LJSpeech-1.1/metadata.csv").write_text(f"LJ001-0001|{STELLA}|{STELLA}\n")
    options = {"jsut": {"subsets": ["voiceactress100"]}, "jvs": {"subsets": ["parallel100"]}, "ljspeech": {}}
    return {name: CorpusParams.model_validate({"importer": name, "path": str(root), **more})
            for name, more in options.items()}


def test_lesson_12_a_mixture_of_corpora_is_parameters_and_a_table(params: Params, tmp_path: Path) -> None:
    data = tmp_path / "data"
    corpora = _lay_out(tmp_path / "publishers")
    for name, corpus in corpora.items():
        import_corpus(name, corpus, data / "corpus" / name)
        resample_corpus(data / "corpus" / name, data / "resampled" / name, params.mel.sample_rate, params.resample)
        trim_corpus(data / "resampled" / name, data / "trim" / name, params.trim)
        extract_corpus(Dataset([name], params.mel, data), data / "features" / name, params.speaker_pitch)
    dataset = Dataset(list(corpora), params.mel, data)
    rules = params.pair.model_copy(
        update={"rule": "sampled", "targets_per_source": 1, "across_corpora": True, "validation": 1, "test": 1})
    pairs = pair_corpora(dataset, rules, params.seed, data / "pairs")
    assert {direction.source for direction in directions_of(pairs)} == {"jsut/jsut", "jvs/jvs001", "jvs/jvs002"}
    align_pairs(dataset, pairs, params.align, 3, data / "alignment")

    counts = count_data(dataset, params.speaker_pitch)
    write_json(tmp_path / "metrics/data.json", counts)
    assert {name: about["utterances"]["kept"] for name, about in counts["corpora"].items()} == {
        "jsut": 3, "jvs": 6, "ljspeech": 1}
    hours = sum(about["hours"]["imported"] for about in counts["corpora"].values())
    assert counts["hours"]["imported"] == pytest.approx(hours, abs=1e-4)
    assert counts["unaccounted"] == 0
    assert counts["quarantined"]["pair"] == {"partner_missing": 1}  # LJ Speech's one sentence
    printed = CliRunner().invoke(app, ["check", "--metrics", str(tmp_path / "metrics")], env={"COLUMNS": "80"}).output
    assert all(name in printed for name in corpora) and "jvs001" in printed
