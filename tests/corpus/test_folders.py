"""Recordings in folders: how they are named, what is refused under which name, and that nothing disappears."""

import errno
import os
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from koe.corpus.importers.registry import Imported, import_corpus
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import QUARANTINE
from koe.corpus.tables.utterances import UTTERANCES
from koe.errors import KoeError

RATE = 16000


def _write(path: Path, rate: int = RATE, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(round(seconds * rate)) * 0.05), rate)


def _pair(root: Path, sentence: str, suffix: str = ".wav") -> None:
    for speaker in ("ann", "bob"):
        _write(root / speaker / f"{sentence}{suffix}")


def _params(root: Path, **updates: object) -> CorpusParams:
    return CorpusParams.model_validate(
        {"importer": "folders", "path": str(root), "source": "ann", "target": "bob"} | updates)


@pytest.fixture()
def recordings(tmp_path: Path) -> Path:
    root = tmp_path / "recordings"
    _pair(root, "good")
    return root


def _import(root: Path, **updates: object) -> tuple[Imported, dict[str, str]]:
    """What was imported, and the quarantine as {speaker/sentence: reason}; checks that both agree with the files."""
    folder = root.parent / "out"
    imported = import_corpus("my", _params(root, **updates), folder)
    table = UTTERANCES.read(folder)
    quarantine = QUARANTINE.read(folder)
    pd.testing.assert_frame_equal(table, imported.table, rtol=1e-5)
    assert set(quarantine["stage"]) <= {"import"}
    assert quarantine["utterance"].is_unique and not set(quarantine["utterance"]) & set(table["utterance"])
    return imported, {name.removeprefix("my/"): reason
                      for name, reason in zip(quarantine["utterance"], quarantine["reason"], strict=True)}


def _sentences(imported: Imported, speaker: str = "ann") -> list[str]:
    return list(imported.table.loc[imported.table["speaker"] == speaker, "sentence"])


def test_table(recordings: Path) -> None:
    _write(recordings / "ann" / "second.flac", 44100, 0.25)
    _write(recordings / "bob" / "deep" / "er" / "second.ogg", 8000, 0.5)
    imported, quarantine = _import(recordings)
    rows = imported.table.set_index("utterance")
    assert quarantine == {}
    assert list(rows.index) == ["my/ann/good", "my/ann/second", "my/bob/good", "my/bob/second"]
    row = rows.loc["my/bob/second"]
    assert (row["role"], row["sample_rate"], row["seconds"], row["channels"]) == ("target", 8000, 0.5, 1)
    assert (rows.loc["my/ann/second", "format"], rows.loc["my/ann/good", "role"]) == ("FLAC/PCM_16", "source")
    assert Path(row["path"]) == recordings / "bob" / "deep" / "er" / "second.ogg"


def test_texts_come_from_a_table_or_beside_the_recording(recordings: Path) -> None:
    for sentence in ("001", "NA", "silent"):
        _pair(recordings, sentence)
    (recordings / "texts.tsv").write_text("001\tThe first.\ngood\tA good one.\n", encoding="utf-8")
    (recordings / "ann" / "NA.txt").write_text("Beside\nit: 声。\n", encoding="utf-8")
    imported, _ = _import(recordings)
    texts = imported.table.set_index("utterance")["text"]
    assert (texts["my/ann/001"], texts["my/bob/001"]) == ("The first.", "The first.")
    assert texts["my/bob/good"] == "A good one."
    assert (texts["my/ann/NA"], texts["my/bob/NA"], texts["my/ann/silent"]) == ("Beside it: 声。", "", "")
    assert any("3 of 8 recordings without text" in note for note in imported.notes)


@pytest.mark.parametrize(("name", "both"), [
    ("1", True), ("1.wav", True), ("1.MP3", True), (" 1 .flac", True), ("ann/1", False), ("./ann/1.wav", False),
    ("recordings/ann/1", False), ("ann\\1.wav", False), ("ANN/1.WAV", False)])
def test_a_list_may_name_files_and_folders(recordings: Path, name: str, both: bool) -> None:
    _pair(recordings, "1")
    (recordings / "texts.tsv").write_text(f"{name}\tHello.\n", encoding="utf-8")
    imported, _ = _import(recordings)
    texts = imported.table.set_index("utterance")["text"]
    assert (texts["my/ann/1"], texts["my/bob/1"]) == ("Hello.", "Hello." if both else "")
    assert not any("of no recording" in note for note in imported.notes)


def test_a_list_in_another_case_or_unicode_form_is_used(recordings: Path) -> None:
    _pair(recordings, unicodedata.normalize("NFD", "Été"))
    (recordings / "texts.tsv").write_text("éTÉ.wav\tSummer.\n", encoding="utf-8")
    (recordings / "ann" / "GOOD.TXT").write_text("Beside.")
    imported, _ = _import(recordings)
    assert sorted(imported.table["text"]) == ["", "Beside.", "Summer.", "Summer."]


def test_names_of_no_recording_are_counted_and_named(recordings: Path) -> None:
    _pair(recordings, "Upper")
    _pair(recordings, "upper")
    (recordings / "ann" / "else.txt").write_text("Of nothing.")
    (recordings / "texts.tsv").write_text("good\tGood.\nnobody\tx\nUPPER\ty\neve/good\tz\n")
    imported, _ = _import(recordings)
    [note] = [note for note in imported.notes if "texts.tsv" in note]
    assert note.endswith("texts.tsv: 3 of 4 names are those of no recording: nobody, UPPER, eve/good")
    assert "1 .txt files are beside no recording of their name: else.txt" in imported.notes
    assert sorted(imported.table["text"]) == ["", "", "", "", "Good.", "Good."]
    assert any("differ only in case" in note and "'Upper' and 'upper'" in note for note in imported.notes)


def test_the_name_that_says_more_is_used_and_of_two_equal_ones_none(recordings: Path) -> None:
    _pair(recordings, "1")
    (recordings / "texts.tsv").write_text("good.mp3\ta\ngood.flac\tb\n1\tBoth.\nann/1\tAnn.\n")
    imported, _ = _import(recordings)
    assert imported.table.set_index("utterance")["text"].to_dict() == {
        "my/ann/1": "Ann.", "my/bob/1": "Both.", "my/ann/good": "", "my/bob/good": ""}
    assert any("2 of 4 names are those of no recording: good.mp3, good.flac" in note for note in imported.notes)


def test_a_list_that_is_no_file_is_named(recordings: Path) -> None:
    (recordings / "texts.tsv").symlink_to("nowhere.tsv")
    with pytest.raises(KoeError, match=r"texts\.tsv cannot be read \(No such file"):
        _import(recordings)
    (recordings / "texts.tsv").unlink()
    os.mkfifo(recordings / "texts.tsv")
    with pytest.raises(KoeError, match=r"texts\.tsv cannot be read: it is not a file; expected lines of id<TAB>text"):
        _import(recordings)


def test_text_that_is_not_utf8(recordings: Path) -> None:
    _pair(recordings, "latin")
    (recordings / "ann" / "latin.txt").write_bytes(b"caf\xe9")
    imported, quarantine = _import(recordings)
    assert quarantine == {"ann/latin": "unreadable_text"}
    assert (_sentences(imported), _sentences(imported, "bob")) == (["good"], ["good", "latin"])


def test_names_with_spaces_and_accents_pair_whatever_their_unicode_form(recordings: Path) -> None:
    name = "à l'été 声 (1)"
    _write(recordings / "ann" / f"{unicodedata.normalize('NFC', name)}.wav")
    _write(recordings / "bob" / f"{unicodedata.normalize('NFD', name)}.WAV")
    imported, quarantine = _import(recordings)
    assert quarantine == {}
    assert _sentences(imported) == ["good", unicodedata.normalize("NFC", name)]
    assert all(Path(path).is_file() for path in imported.table["path"])


def test_lesson_23_every_recording_that_is_left_out_is_a_row(recordings: Path) -> None:
    for sentence in ("broken", "empty", "both"):
        _pair(recordings, sentence)
    (recordings / "ann" / "broken.wav").write_bytes(b"RIFF nonsense")
    soundfile.write(recordings / "bob" / "empty.wav", np.zeros(0), RATE)
    for speaker in ("ann", "bob"):
        whole = (recordings / speaker / "both.wav").read_bytes()
        (recordings / speaker / "both.wav").write_bytes(whole[:-1000])
    imported, quarantine = _import(recordings)
    assert quarantine == {"ann/broken": "unreadable", "bob/empty": "zero_samples", "ann/both": "truncated",
                          "bob/both": "truncated"}
    assert (_sentences(imported), _sentences(imported, "bob")) == (["empty", "good"], ["broken", "good"])


@pytest.mark.parametrize("second", ["twice.flac", "sub/twice.wav", "twice.WAV"])
def test_a_sentence_twice_leaves_out_both_and_names_them(recordings: Path, second: str) -> None:
    _pair(recordings, "twice")
    _write(recordings / "bob" / second)
    imported, quarantine = _import(recordings)
    assert quarantine == {"bob/twice": "sentence_twice"}
    detail = imported.quarantine.rows[0]["detail"]
    assert "bob/twice.wav" in detail and f"bob/{second}" in detail


def test_links_out_of_the_speakers_folder_are_refused(recordings: Path, tmp_path: Path) -> None:
    _write(tmp_path / "elsewhere.wav")
    _pair(recordings, "inside")
    _write(recordings / "bob" / "escape.wav")
    (recordings / "ann" / "escape.wav").symlink_to(tmp_path / "elsewhere.wav")
    (recordings / "ann" / "borrowed.wav").symlink_to(recordings / "bob" / "good.wav")
    (recordings / "ann" / "again.wav").symlink_to(recordings / "ann" / "inside.wav")
    _write(recordings / "bob" / "again.wav")
    (recordings / "ann" / "loop").symlink_to(recordings)
    imported, quarantine = _import(recordings)
    assert quarantine == {"ann/escape": "outside_its_folder", "ann/borrowed": "outside_its_folder"}
    assert _sentences(imported) == ["again", "good", "inside"]
    assert any("1 files" in note and "loop" in note for note in imported.notes)


def test_links_into_dvcs_cache_are_the_files(recordings: Path, tmp_path: Path) -> None:
    """What dvc add leaves in a folder where cache.type is symlink."""
    cached = tmp_path / "cache" / "files" / "md5" / "ab" / "0123456789abcdef0123456789abcd"
    cached.parent.mkdir(parents=True)
    (recordings / "ann" / "good.wav").rename(cached)
    (recordings / "ann" / "good.wav").symlink_to(cached)
    imported, quarantine = _import(recordings)
    assert (quarantine, _sentences(imported)) == ({}, ["good"])


def test_names_that_no_table_can_hold_are_refused(recordings: Path) -> None:
    _pair(recordings, "tab\there")
    _pair(recordings, "other")
    for speaker in ("ann", "bob"):
        (recordings / speaker / "other.wav").rename(recordings / speaker / os.fsdecode(b"not \xff Unicode.wav"))
    imported, quarantine = _import(recordings)
    assert quarantine == {f"{speaker}/{name}": "unusable_name"
                          for speaker in ("ann", "bob") for name in ("tab?here", "not ? Unicode")}
    assert _sentences(imported) == ["good"]


def test_names_that_a_program_may_trip_over_are_taken(recordings: Path) -> None:
    names = ["CON", "-rf", "=cmd|calc", "a,b", 'q"uote', "声" * 80, "n" * 250, "%s", "a\\b", "$(x)"]
    for name in names:
        _pair(recordings, name)
    imported, quarantine = _import(recordings)
    assert quarantine == {}
    assert _sentences(imported) == _sentences(imported, "bob") == sorted([*names, "good"])


def test_one_odd_entry_is_one_row(recordings: Path) -> None:
    ann = recordings / "ann"
    for name in ("pipe.wav", "pipe"):
        os.mkfifo(ann / name)
    for name, target in {"zero.wav": "/dev/zero", "zero": "/dev/zero", "self.wav": "self.wav", "self": "self",
                         "long.wav": "x" * 300, "gone.wav": "nowhere"}.items():
        (ann / name).symlink_to(target)
    os.mkfifo(ann / "good.txt")
    deep = os.open(ann, os.O_RDONLY)
    for _ in range(17):  # to a path that is longer than any call takes
        os.mkdir("d" * 250, dir_fd=deep)
        deep, above = os.open("d" * 250, os.O_RDONLY, dir_fd=deep), deep
        os.close(above)
    os.close(deep)
    below = Path(os.fsdecode(os.fsencode(ann) + b"/\xfe"))
    below.mkdir()
    (ann / "good.wav").rename(below / "under.wav")
    _write(ann / "good.wav")
    imported, quarantine = _import(recordings)
    assert _sentences(imported) == [] and _sentences(imported, "bob") == ["good"]
    assert quarantine == {
        "ann/pipe": "not_a_file", "ann/pipe (without suffix)": "not_a_file", "ann/zero": "outside_its_folder",
        "ann/zero (without suffix)": "not_a_file", "ann/self": "unreadable", "ann/self (without suffix)": "unreadable",
        "ann/long": "unreadable", "ann/gone": "missing_file", "ann/good": "unreadable_text",
        f"ann/{'d' * 250} (without suffix)": "unreadable", "ann/under": "unusable_name"}
    assert any("1 listed recordings have no file: ann/gone" in note for note in imported.notes)


def test_a_folder_that_cannot_be_read_is_a_row(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (recordings / "ann" / "locked").mkdir()
    inside = Path.iterdir

    def refused(path: Path) -> object:
        if path.name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return inside(path)

    monkeypatch.setattr(Path, "iterdir", refused)
    imported, quarantine = _import(recordings)
    assert (quarantine, _sentences(imported)) == ({"ann/locked": "unreadable_folder"}, ["good"])


def test_audio_of_an_unknown_suffix_is_a_row(recordings: Path) -> None:
    for name in ("good.foo", "1.bak", "2"):
        _write(recordings / "ann" / "x.wav")
        (recordings / "ann" / "x.wav").rename(recordings / "ann" / name)
    imported, quarantine = _import(recordings)
    assert quarantine == {f"ann/{name}": "unknown_format" for name in ("good.foo", "1.bak", "2 (without suffix)")}
    assert _sentences(imported) == ["good"]
    assert not any("ignored" in note for note in imported.notes)


def test_where_nothing_can_be_read_the_message_says_what_is_there(tmp_path: Path) -> None:
    for name in ("a.docx", "b.docx", "c.pdf", "notes"):
        (tmp_path / "recordings" / "ann").mkdir(parents=True, exist_ok=True)
        (tmp_path / "recordings" / "ann" / name).write_text("x")
    with pytest.raises(KoeError, match=r"below it are 2 \.docx, 1 .*1 "):
        _import(tmp_path / "recordings", source=None, target=None)


def test_folders_of_one_name_in_two_unicode_forms_are_one_speaker(recordings: Path) -> None:
    for form in ("NFC", "NFD"):
        _write(recordings / unicodedata.normalize(form, "é") / f"{form}.wav")
    imported, _ = _import(recordings, source="é")
    assert _sentences(imported, "é") == ["NFC", "NFD"]


def test_other_files_are_counted_and_left_alone(recordings: Path) -> None:
    for name in (".hidden.wav", "._good.wav", "notes.md", "a.doc", "b.doc"):
        (recordings / "ann" / name).write_text("x")
    (recordings / "ann" / "good.txt").write_text("Good.")
    imported, quarantine = _import(recordings)
    assert quarantine == {}
    assert _sentences(imported) == ["good"]
    [note] = [note for note in imported.notes if "ignored" in note]
    assert note.startswith("5 files") and ".doc 2" in note and "hidden 2" in note


def test_hidden_folders_are_not_recordings(recordings: Path) -> None:
    _write(recordings / "ann" / ".trash" / "good.wav")
    imported, quarantine = _import(recordings)
    assert quarantine == {}
    assert _sentences(imported) == ["good"]


def test_only_the_first_so_many_sentences(recordings: Path) -> None:
    for sentence in ("a", "b", "c"):
        _pair(recordings, sentence)
    _write(recordings / "ann" / "a0.wav")
    imported, _ = _import(recordings, utterances=2)
    assert _sentences(imported) == _sentences(imported, "bob") == ["a", "b"]
    assert any("the first 2 of 5 sentences" in note for note in imported.notes)
    imported, _ = _import(recordings, utterances=5)
    assert (_sentences(imported)[1], len(_sentences(imported, "bob"))) == ("a0", 4)


def test_speakers(recordings: Path) -> None:
    _write(recordings / "eve" / "good.flac")
    _write(recordings / "stray.wav")
    os.mkfifo(recordings / "pipe")
    imported, _ = _import(recordings)
    assert set(imported.table["speaker"]) == {"ann", "bob"}
    assert any(note.startswith("1 files ignored") and "beside" in note for note in imported.notes)
    for updates, speakers, roles in (
        ({"target": None}, ["ann", "bob", "eve"], ["source", "", ""]),
        ({"source": None, "target": None}, ["ann", "bob", "eve"], ["", "", ""]),
        ({"source": "eve", "target": None, "speakers": ["bob", "eve"]}, ["bob", "eve"], ["", "source"]),
    ):
        imported, _ = _import(recordings, **updates)
        assert (list(imported.table["speaker"]), list(imported.table["role"])) == (speakers, roles)


def test_sentences_by_a_table(recordings: Path) -> None:
    for file in ("ann/x1.wav", "bob/take 7.wav", "bob/deep/unlisted.wav"):
        _write(recordings / file)
    (recordings / "texts.tsv").write_text("good\tA good one.\n", encoding="utf-8")
    (recordings / "sentences.csv").write_text(
        'file,sentence,text\nann/x1.wav,hello,"Hello, you."\nbob/take 7.wav,hello,"Hello, you."\n'
        "ann/good.wav,fine,\nann/gone.wav,gone,\neve/good.wav,fine,\n.,odd,\n", encoding="utf-8")
    imported, quarantine = _import(recordings, match="table")
    assert (_sentences(imported), _sentences(imported, "bob")) == (["fine", "hello"], ["hello"])
    assert list(imported.table["text"]) == ["A good one.", "Hello, you.", "Hello, you."]
    assert quarantine == {"ann/gone": "missing_file", "bob/good": "not_in_the_table", "./odd": "no_such_folder",
                          "bob/unlisted": "not_in_the_table", "eve/fine": "no_such_folder"}
    (recordings / "sentences.csv").write_text("file,sentence\nann/good,a\nBOB/Good.wav,a\n./ann/x1.wav,b\n")
    assert _sentences(_import(recordings, match="table")[0]) == ["a", "b"]
    (recordings / "sentences.csv").write_text("file,sentence\nann/good.wav,a\n./ann/good.wav,b\n")
    with pytest.raises(KoeError, match=r"sentences\.csv, line 3: file 'ann/good\.wav' occurs twice"):
        _import(recordings, match="table")
    (recordings / "sentences.csv").unlink()
    with pytest.raises(KoeError, match=r"corpora\.my\.match: table, and .*sentences\.csv does not exist; expected CSV"):
        _import(recordings, match="table")


def test_sentences_by_text(recordings: Path) -> None:
    for file, text in {"ann/1": "Please call Stella.", "bob/21": "please, call Stella", "bob/1": "Yes."}.items():
        _write(recordings / f"{file}.wav")
        (recordings / f"{file}.txt").write_text(text)
    imported, _ = _import(recordings, match="text")
    [both] = set(_sentences(imported)) & set(_sentences(imported, "bob"))
    assert both.startswith("pleasecallstella-")
    assert "ann_good" in _sentences(imported) and "bob_good" in _sentences(imported, "bob")


def test_recordings_without_text_pair_with_no_other_speakers(recordings: Path) -> None:
    _write(recordings / "a" / "b_1.wav")
    _write(recordings / "a_b" / "1.wav")
    imported, _ = _import(recordings, match="text", source=None, target=None)
    assert imported.table["sentence"].is_unique


def test_one_name_for_two_texts_is_noted(recordings: Path) -> None:
    (recordings / "ann" / "good.txt").write_text("Good morning.")
    (recordings / "bob" / "good.txt").write_text("Good evening.")
    imported, _ = _import(recordings)
    assert any("1 sentences are not the same text" in note and "good" in note for note in imported.notes)


def test_a_linked_corpus_and_a_read_only_one(recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "corpus").symlink_to(recordings)
    for mode in (0o555, 0o755):
        recordings.chmod(mode)
        (recordings / "ann").chmod(mode)
        imported, quarantine = _import(tmp_path / "linked" / "corpus")
        assert (quarantine, _sentences(imported)) == ({}, ["good"])


@pytest.mark.parametrize(
    ("updates", "message"),
    [({"path": "nowhere"}, r"corpora\.my\.path: nowhere is not a folder; .* recordings for each speaker"),
     ({"source": "eve"}, r"corpora\.my\.source: 'eve' is not a speaker of .*; there are ann, bob"),
     ({"speakers": ["ann", "bob", "eve"]}, r"corpora\.my\.speakers: 'eve' is not a speaker of .*; there are ann, bob"),
     ({"target": "../ann"}, r"corpora\.my\.target: '\.\./ann' is not a speaker"),
     ({"target": "/tmp"}, r"corpora\.my\.target: '/tmp' is not a speaker")],
)
def test_wrong_parameters_are_named(recordings: Path, updates: dict, message: str) -> None:
    with pytest.raises(KoeError, match=message):
        import_corpus("my", _params(recordings, **updates), recordings.parent / "out")


def test_nothing_usable_stops_and_names_the_most_frequent_reason(recordings: Path) -> None:
    for speaker, sentence in (("ann", "good"), ("bob", "good"), ("bob", "other")):
        (recordings / speaker / f"{sentence}.wav").write_bytes(b"")
    soundfile.write(recordings / "ann" / "empty.wav", np.zeros(0), RATE)
    with pytest.raises(KoeError, match=r"(?s)unreadable 3, zero_samples 1.*corpora\.my\.path") as caught:
        import_corpus("my", _params(recordings), recordings.parent / "out")
    assert str(recordings.parent / "out" / "quarantine.csv") in str(caught.value)
    reasons = Counter(QUARANTINE.read(recordings.parent / "out")["reason"])
    assert reasons == {"unreadable": 3, "zero_samples": 1}


def test_empty_folders_stop(tmp_path: Path) -> None:
    for speaker in ("ann", "bob"):
        (tmp_path / "recordings" / speaker).mkdir(parents=True)
    with pytest.raises(KoeError, match=r"the input was empty.*\n.*corpora\.my\.path"):
        import_corpus("my", _params(tmp_path / "recordings"), tmp_path / "out")


def test_speakers_are_found_in_either_spelling_of_unicode(recordings: Path) -> None:
    name = "がぎ"
    _write(recordings / unicodedata.normalize("NFD", name) / "good.wav")
    for spelling in ("NFC", "NFD"):
        imported, _ = _import(recordings, source=unicodedata.normalize(spelling, name), target="bob",
                              pitch_ranges={"ben": [80.0, 300.0]})
        roles = dict(zip(imported.table["speaker"], imported.table["role"], strict=True))
        assert roles == {unicodedata.normalize("NFC", name): "source", "bob": "target"}
        assert "corpora.my.pitch_ranges: no recordings of ben" in imported.notes
