"""The models that ship, on speakers that the acoustic model has never heard, as source and as target.

    apt-get install asterisk-core-sounds-{en,fr,it,ru}-g722 asterisk-core-sounds-en
    python benchmarks/anyone.py

Sources say the first sentences of the conversion demo, which no model that ships was trained on: four of Kokoro's
English voices that are not in pipelines/anyone; and a woman's telephone prompts, by their texts. Each is converted
into every target: these, two of Kokoro's Japanese voices, and the people of three other languages' prompts. A target is
known by `--examples` recordings, of a few seconds each; that the result sounds like it is judged on others.

Prints, for each target and over all: the similarity to the target's other recordings and to the source's (cosine of
Resemblyzer's embeddings), the share of the sentences that are nearer to the target, word error rates of the sources
and of the results (Whisper tiny.en) and estimates of the mean opinion score (DistillMOS). The vocoder that ships was
trained on some of these voices; they have a star.
"""

import argparse
import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from koe.audio.files import read_channels
from koe.corpus.sentences_file import read_sentences
from koe.corpus.voices import VOICES, speak
from koe.evaluation.intelligibility import Errors, count_errors
from koe.listeners.mos import estimate_mos
from koe.listeners.packaged import at_16_khz
from koe.listeners.recogniser import transcribe
from koe.listeners.speaker import embed, enrol, similarity
from koe.parallel import thread_map
from koe.progress import progress
from koe.tasks.conversion.convert import Converter
from koe.vocoder.registry import load_vocoder

ROOT = Path(__file__).parents[1]
ENGLISH = ("af_nova", "am_fenrir", "bf_emma", "bm_george")
JAPANESE = ("jf_alpha", "jm_kumo")
PROMPTS = {"allison": "en_US_f_Allison", "june": "fr_CA_f_June", "carlo": "it_IT_m_Carlo",
           "ivrvoice": "ru_RU_f_IvrvoiceRU"}
HEARD_BY_THE_VOCODER = {*JAPANESE, "allison"}
TEXTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
PROMPT_SECONDS = (2.5, 8.0)


@dataclass(frozen=True)
class Recording:
    wave: np.ndarray  # (samples,)
    rate: int  # Hz
    text: str = ""


def spoken(name: str, count: int) -> list[Recording]:
    """The first sentences of the demo, by a voice that installs as a package."""
    voice = VOICES[name]
    sentences = list(read_sentences(ROOT / f"src/koe/corpus/sentences/{voice.language}.tsv").values())[:count]
    return [Recording(audio.astype(np.float32) / 32768, voice.sample_rate, text)
            for (audio, _), text in zip(speak(voice, 0, sentences), sentences, strict=True)]


def prompts(folder: Path, count: int, texts: dict[str, str] | None = None) -> list[Recording]:
    """The first prompts of a fitting length, in the order of their names; with `texts` only those that have one."""
    found = []
    for path in sorted(folder.glob("*.g722")):
        if texts is not None and path.stem not in texts:
            continue
        wave, rate = read_channels(path)
        if PROMPT_SECONDS[0] <= len(wave) / rate <= PROMPT_SECONDS[1]:
            found.append(Recording(wave[:, 0], rate, (texts or {}).get(path.stem, "")))
        if len(found) == count:
            break
    return found


def prompt_texts() -> dict[str, str]:
    """What the English prompts say, by file name; without those that describe a sound."""
    lines = gzip.decompress(TEXTS.read_bytes()).decode().splitlines()
    pairs = (line.split(": ", 1) for line in lines if ": " in line)
    return {name: text.strip() for name, text in pairs if not re.search(r"[\[\]<>]|\d", text)}


def measured(
    waves: Sequence[np.ndarray], rate: int, texts: Sequence[str]
) -> Iterator[tuple[np.ndarray, Errors, float]]:
    """Embedding, recogniser's errors and opinion score of each waveform."""

    def work(item: tuple[np.ndarray, str]) -> tuple[np.ndarray, Errors, float]:
        wave, text = at_16_khz(item[0], rate), item[1]
        embedding = embed(wave)
        assert embedding is not None
        return embedding, count_errors(text, transcribe(wave)), estimate_mos(wave)

    return iter(thread_map(work, zip(waves, texts, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--acoustic", type=Path, default=ROOT / "models/pretrained/anyone")
    parser.add_argument("--vocoder", default=str(ROOT / "models/pretrained/universal"))
    parser.add_argument("--sounds", type=Path, default=Path("/usr/share/asterisk/sounds"))
    parser.add_argument("--sentences", type=int, default=6, help="of each source")
    parser.add_argument("--examples", type=int, default=4, help="recordings by which a target is known")
    parser.add_argument("--out", type=Path, help="a CSV file with a row for each conversion")
    options = parser.parse_args()

    converter = Converter.load(options.acoustic)
    vocoder = load_vocoder(options.vocoder, converter.model.preparation.mel)
    converter = Converter(converter.model, converter.device, vocoder)
    count = max(options.sentences, 2 * options.examples)
    people = {name: spoken(name, count) for name in (*ENGLISH, *JAPANESE)}
    people |= {name: prompts(options.sounds / folder, count, prompt_texts() if name == "allison" else None)
               for name, folder in PROMPTS.items()}
    identity = {}
    for name, recordings in people.items():
        embeddings = [embed(at_16_khz(one.wave, one.rate)) for one in recordings[options.examples:]]
        identity[name] = enrol([embedding for embedding in embeddings if embedding is not None])
    sources = {name: people[name][:options.sentences] for name in (*ENGLISH, "allison")}
    of_sources = {name: list(measured([at_16_khz(one.wave, one.rate) for one in recordings], 16000,
                                      [one.text for one in recordings])) for name, recordings in sources.items()}
    features = {name: [converter.features(one.wave, one.rate) for one in recordings]
                for name, recordings in sources.items()}
    rows = []
    for target in progress(people, "convert", total=len(people)):
        examples = [converter.features(one.wave, one.rate) for one in people[target][:options.examples]]
        known = converter.with_speaker(target, examples)
        for source in (name for name in sources if name != target):
            waves = known.convert_utterances(features[source], None, target)
            results = measured(waves, converter.sample_rate, [one.text for one in sources[source]])
            for number, ((embedding, errors, mos), (_, before, mos_before)) in enumerate(
                zip(results, of_sources[source], strict=True)
            ):
                rows.append({"source": source, "target": target, "sentence": number,
                             "to_target": similarity(embedding, identity[target]),
                             "to_source": similarity(embedding, identity[source]),
                             "errors": errors.word_errors, "words": errors.words, "errors_source": before.word_errors,
                             "mos": mos, "mos_source": mos_before})
    table = pd.DataFrame(rows)
    if options.out:
        table.to_csv(options.out, index=False)
    print("| target | similarity to target | to source | nearer to target | similarity 0.75 or more | WER | of sources "
          "| MOS | of sources |\n|---|---|---|---|---|---|---|---|---|")
    for target, group in [*table.groupby("target", sort=False), ("all", table)]:
        star = "\\*" if target in HEARD_BY_THE_VOCODER else ""
        words = group["words"].sum()
        print(f"| {target}{star} | {group['to_target'].mean():.3f} | {group['to_source'].mean():.3f} "
              f"| {(group['to_target'] > group['to_source']).mean():.0%} | {(group['to_target'] >= 0.75).mean():.0%} "
              f"| {group['errors'].sum() / words:.1%} | {group['errors_source'].sum() / words:.1%} "
              f"| {group['mos'].mean():.2f} | {group['mos_source'].mean():.2f} |")


if __name__ == "__main__":
    main()
