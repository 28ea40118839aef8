"""How much of the text a speech recogniser still understands: word and character error rates, English only."""

from dataclasses import dataclass

import jiwer
import numpy as np

from koe.evaluation.text import normalize
from koe.listening import SAMPLE_RATE, speech_recognizer

LANGUAGES = ("en",)  # what the recogniser that comes with pip knows


@dataclass(frozen=True)
class Errors:
    """Substitutions, deletions and insertions, and what they are counted against. Rates pool over utterances."""

    word_errors: int
    words: int
    character_errors: int
    characters: int


def transcribe(wave: np.ndarray) -> str:
    """What Whisper tiny.en hears in a waveform (samples,) at 16 kHz.

    Beam of 5, temperature 0 alone (the usual fallback draws at random), no timestamps, and at most 10 tokens a
    second (speech has 4 to 6): on noise a small Whisper repeats itself until it is stopped.
    """
    segments, _ = speech_recognizer().transcribe(
        wave, language="en", beam_size=5, temperature=0.0, without_timestamps=True, condition_on_previous_text=False,
        max_new_tokens=10 + round(10 * len(wave) / SAMPLE_RATE),
    )
    return " ".join(segment.text.strip() for segment in segments)


def count_errors(text: str, transcript: str) -> Errors:
    """Edits between a text and what was heard, both normalised; characters count the single spaces between words."""
    wanted, heard = normalize(text), normalize(transcript)
    words, characters = jiwer.process_words(wanted, heard), jiwer.process_characters(wanted, heard)
    return Errors(_edits(words), len(wanted.split()), _edits(characters), len(wanted))


def _edits(output: jiwer.WordOutput | jiwer.CharacterOutput) -> int:
    return output.substitutions + output.deletions + output.insertions
