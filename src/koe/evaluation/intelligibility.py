"""How much of the text a speech recogniser still understands: word and character error rates, English only."""

from dataclasses import dataclass

import jiwer

from koe.text.normalization import normalize


@dataclass(frozen=True)
class Errors:
    """Substitutions, deletions and insertions, and what they are counted against. Rates pool over utterances."""

    word_errors: int
    words: int
    character_errors: int
    characters: int


def count_errors(text: str, transcript: str) -> Errors:
    """Edits between a text and what was heard, both normalised; characters count the single spaces between words."""
    wanted, heard = normalize(text), normalize(transcript)
    words, characters = jiwer.process_words(wanted, heard), jiwer.process_characters(wanted, heard)
    return Errors(_edits(words), len(wanted.split()), _edits(characters), len(wanted))


def _edits(output: jiwer.WordOutput | jiwer.CharacterOutput) -> int:
    return output.substitutions + output.deletions + output.insertions
