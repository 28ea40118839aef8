"""How much of the text a speech recogniser understands: word and character error rates, English only."""

from dataclasses import dataclass

import jiwer

from koe.text.normalization import normalize


@dataclass(frozen=True)
class Errors:
    """Edits and lengths, which are summed over utterances before a rate is taken."""

    word_errors: int  # substitutions, deletions and insertions
    words: int  # of the text
    character_errors: int
    characters: int


def count_errors(text: str, transcript: str) -> Errors:
    """Edits between a text and its transcript, both normalised; single spaces between words count as characters."""
    text, transcript = normalize(text), normalize(transcript)
    words, characters = jiwer.process_words(text, transcript), jiwer.process_characters(text, transcript)
    return Errors(_edits(words), len(text.split()), _edits(characters), len(text))


def _edits(output: jiwer.WordOutput | jiwer.CharacterOutput) -> int:
    return output.substitutions + output.deletions + output.insertions
