"""Sections of parameters: what a choice keeps, and that what is not chosen changes nothing that was made without it."""

import json
import re
from typing import Any

import pytest
from support.parameters import change, changed_params, project_values

from koe.align.params import AlignParams, LearnedAlignParams
from koe.errors import ParameterError
from koe.params.reading import flatten, typed
from koe.params.section import Section
from koe.tasks.conversion.schema import Params, check_params
from koe.vocoder.params import HarmonicNoiseParams, HiFiGANParams


def dumped(params: Section) -> str:
    """As a checkpoint's key and a model's card have it, with the order of the names."""
    return json.dumps(params.model_dump(mode="json"))


PARTS = {"harmonic_noise": HarmonicNoiseParams, "hifigan": HiFiGANParams}


@pytest.mark.parametrize("mode", ["python", "json"])
@pytest.mark.parametrize("model", PARTS)
def test_a_vocoders_section_is_dumped_with_the_part_that_is_chosen_alone(model: str, mode: str) -> None:
    values = project_values()["vocoder"]
    vocoder = changed_params({"vocoder.model": model}).vocoder
    others = [part for part in PARTS if part != model]
    assert list(vocoder.model_dump(mode=mode)) == [name for name in values if name not in others]
    assert vocoder.part(PARTS[model]) == vocoder.network
    assert all(getattr(vocoder, part) is None for part in others)
    for part in others:
        with pytest.raises(TypeError, match=f"VocoderParams has chosen {model}, not a {PARTS[part].__name__}"):
            vocoder.part(PARTS[part])


@pytest.mark.parametrize("method, compare, kept", [
    ("dtw", None, []), ("attention", None, ["attention"]), ("dtw", "learned", ["learned"]),
    ("learned", "attention", ["attention", "learned"]),
])
def test_an_alignments_section_keeps_the_methods_that_it_names(
    method: str, compare: str | None, kept: list[str]
) -> None:
    align = changed_params({"align.method": method, "align.compare": compare}).align
    assert [name for name in align.model_dump() if name in ("attention", "learned")] == kept


# A value of the part that is not chosen, and one of the part that is.
UNUSED = {
    "vocoder": {"vocoder.hifigan.upsample_channels": 512}, "align": {"align.learned.training.steps": 77},
    "acoustic": {"vocoder.hifigan.upsample_channels": 512, "align.learned.training.steps": 77},
}
USED = {
    "vocoder": {"vocoder.harmonic_noise.hidden": 128}, "align": {"align.attention.hidden": 64},
    "acoustic": {"acoustic.encoder.heads": 2},
}


@pytest.mark.parametrize("section", UNUSED)
def test_an_identity_is_that_of_what_is_chosen(section: str) -> None:
    """Of a run's parameters: a checkpoint is continued from, and a stage's output reused, where they are equal."""
    chosen = {"vocoder.model": "harmonic_noise", "align.method": "attention"}
    plain, other, changed = (dumped(getattr(changed_params({**chosen, **changes}), section))
                             for changes in ({}, UNUSED[section], USED[section]))
    assert plain == other != changed


@pytest.mark.parametrize("name", ["vocoder", "align", "acoustic"])
def test_what_is_dumped_reads_as_it_was(name: str) -> None:
    section: Section = getattr(changed_params({"align.compare": "learned"}), name)
    assert type(section).model_validate(json.loads(dumped(section))) == section


@pytest.mark.parametrize("section, missing, message", [
    ("vocoder", {"vocoder.model": "hifigan"}, "vocoder: model is hifigan, and the part hifigan is missing"),
    ("align", {"align.compare": "learned"}, "align: compare is learned, and the part learned is missing"),
])
def test_a_part_that_is_chosen_must_be_there(section: str, missing: dict[str, Any], message: str) -> None:
    values = change(project_values(), missing)
    del values[section][next(iter(missing.values()))]
    with pytest.raises(ParameterError, match=message):
        check_params(values)


def test_a_part_that_is_not_chosen_may_be_left_out() -> None:
    values = project_values()
    del values["vocoder"]["hifigan"]
    assert check_params(values) == changed_params({})


def test_a_card_of_another_version_is_read_for_what_it_chose() -> None:
    """What this version knows no more, or not yet, of a part that is not used is no reason to refuse a model."""
    align = changed_params({"align.method": "learned"}).align
    card = {**align.model_dump(), "attention": {"of": "another version"}}
    assert AlignParams.model_validate(AlignParams.used(card)) == align
    assert AlignParams.model_validate(AlignParams.used(card)).part(LearnedAlignParams) == align.learned


NUMBERS = {name: value for name, value in flatten(project_values()) if isinstance(value, int | float)}


@pytest.mark.parametrize("kind", ["yes for a number", "quotes", "1 for true"])
def test_a_number_and_a_truth_value_are_never_taken_for_each_other(kind: str) -> None:
    """`utterances: yes` was 1. In one go, for the message lists everything that is wrong."""
    wrong = {name: value for name, value in NUMBERS.items() if isinstance(value, bool) == (kind == "1 for true")}
    assert len(wrong) > (5 if kind == "1 for true" else 100)
    for name, value in wrong.items():
        bad = {"yes for a number": True, "quotes": f"{value}", "1 for true": int(value)}[kind]
        with pytest.raises(ParameterError, match=re.escape(name)):
            typed(Params, change(project_values(), {name: bad}))


def test_true_and_false_and_whole_numbers_for_others_stay() -> None:
    params = changed_params({"vocoder.training.validation.mos": False, "mel.fmax": 8000})
    assert params.vocoder.training.validation.mos is False and params.mel.fmax == 8000.0
    assert isinstance(params.mel.fmax, float)
