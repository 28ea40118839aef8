"""Warnings about the data for a person to check, in sentences. The limits are rules of thumb; nothing is excluded here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from koe.audio.downmix import AVERAGE, MONO

PRESSED_SHARE = 0.02  # of a speaker's voiced frames at floor or ceiling; above this the range cuts the voice off
EXCLUDED_SHARE = 0.1  # of a corpus' recordings
SUSPECT_SHARE = 0.05  # of cuts, of alignments
CLIPPED_SHARE = 0.01  # of a corpus' recordings
LOUDNESS_DEVIATION = 3.0  # loudness units, of a speaker's recordings
NOISE_DB = -45.0  # a speaker's noise floor


def pitch_warning(speaker: str, pressed: float | None, floor: float, ceiling: float) -> str | None:
    """A warning where F0 presses against the ends of the range that is searched.

    `pressed`: the share of voiced frames near an end, as the stage `extract` measured it.
    """
    if pressed is None or pressed <= PRESSED_SHARE:
        return None
    return (f"{speaker}: {pressed:.1%} of its voiced frames are at an end of {floor:g} to {ceiling:g} Hz, so F0 may "
            "lie beyond; widen pitch.floor and .ceiling, or give the speaker its own in corpora.<name>.pitch_ranges")


def advice(counts: Mapping[str, Any]) -> list[str]:
    """Sentences on the content of `metrics/data.json`, the most serious first."""
    of_corpora = [line for name, corpus in counts["corpora"].items() for line in _of_corpus(name, corpus)]
    return [*_of_everything(counts), *of_corpora]


def _of_everything(counts: Mapping[str, Any]) -> Iterator[str]:
    if counts["unaccounted"]:
        yield (f"unaccounted for: {counts['unaccounted']} utterances or pairs are neither used nor in a quarantine; a "
               "stage has lost them, which is a bug")
    duplicates = counts["duplicates"]
    if duplicates["utterances"]:
        yield (f"duplicates: {duplicates['utterances']} utterances have the same samples as another, "
               f"e.g. {' = '.join(duplicates['largest'][0][:2])}; is the text of both right?")
    outliers = {name: direction["outliers"]["count"] for name, direction in counts["directions"].items()}
    if any(outliers.values()):
        worst = max(outliers, key=lambda name: outliers[name])
        yield (f"duration ratios: {sum(outliers.values())} of {sum(counts['pairs'].values())} pairs are outliers, most "
               f"of them in {worst} ({outliers[worst]}); do both sides say the same text?")
    totals = {"trim": counts["utterances"]["kept"], "alignment": sum(counts["pairs"].values())}
    for kind, total in totals.items():
        if counts[f"{kind}_suspects"] > SUSPECT_SHARE * total:
            yield f"{kind}s: {counts[f'{kind}_suspects']} of {total} are suspects; the page draws the worst"


def _of_corpus(name: str, corpus: Mapping[str, Any]) -> Iterator[str]:
    imported, kept = corpus["utterances"]["imported"], corpus["utterances"]["kept"]
    if imported - kept > EXCLUDED_SHARE * imported:
        yield f"{name}: {imported - kept} of {imported} recordings were excluded by resample, trim or extract"
    if corpus["upsampled"]:
        yield (f"{name}: {corpus['upsampled']} of {imported} recordings were made at less than mel.sample_rate; "
               "resampling does not restore the missing treble")
    if corpus["clipped"]["share"] > CLIPPED_SHARE:
        yield f"{name}: {corpus['clipped']['count']} of {imported} recordings clip somewhere"
    if chosen := {choice: count for choice, count in corpus["channels"].items() if choice not in (MONO, AVERAGE)}:
        counted = ", ".join(f"{choice} {count}" for choice, count in chosen.items())
        yield (f"{name}: the channels of {sum(chosen.values())} of {imported} recordings are not "
               f"equals, so not all were averaged as they are ({counted}); listen to one of each")
    if corpus["quieter"]:
        yield (f"{name}: {corpus['quieter']} of {imported} recordings are far quieter than the loudest of their "
               "channels; take that one alone if it holds the speech")
    yield from (f"{name}: {count} of {imported} recordings: {note}" for note, count in corpus["notes"].items())
    for speaker, numbers in corpus["speakers"].items():
        if numbers["f0"]["warning"]:
            yield numbers["f0"]["warning"]
        deviation, noise = numbers["loudness_lufs"]["std"], numbers["noise_db"]
        if deviation is not None and deviation > LOUDNESS_DEVIATION:
            yield (f"{name}/{speaker}: loudness varies by {deviation:.1f} LU (standard deviation); "
                   "resample.loudness_lufs evens it out")
        if noise is not None and noise > NOISE_DB:
            yield f"{name}/{speaker}: the noise floor is at {noise:.0f} dB of full scale"
