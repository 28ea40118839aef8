"""Vocoders trained from scratch in equal processor time: what do the source and the corrections contribute?

    dvc repro pair                                  # the default demo: recordings, mels, F0 and pairs
    python benchmarks/vocoders.py --out vocoders.jsonl

trains every network of TRAINED on the recordings of the training pairs' targets and their own mels, on one thread, with
the losses, discriminators (after the first third of the steps) and schedule of params.yaml, in float32, for as many
steps as fit into `--minutes` of processor time, estimated from a few steps that are not counted. HiFi-GAN's segments
have 32 frames (lesson 38 in docs/lessons.md), the others' are those of params.yaml. All then synthesise the held-out
mels of the test pairs' targets, with F0 if they take it. References are Griffin-Lim, which takes F0, and the
recordings.

`istft` has the trunk of `harmonic_noise` and predicts the waveform's spectra, magnitude and phase, instead of filters
for a source. Both are trained with the corrections and without.

Runs that are in `--out` already are not repeated. Prints a table (Markdown) and lines `ratio <name> <value>`.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from koe.audio.mel import log_mel
from koe.audio.params import MelParams
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import pairs_in, read_pairs
from koe.evaluation.intelligibility import count_errors
from koe.evaluation.pesq import wide_band_pesq
from koe.listeners.mos import estimate_mos
from koe.listeners.packaged import at_16_khz
from koe.listeners.recogniser import transcribe
from koe.params.reading import read_values
from koe.randomness import seed_for
from koe.tasks.conversion.schema import Params, check_params
from koe.training.averaging import update_average
from koe.training.means import RunningMeans
from koe.vocoder.data import MelAudio
from koe.vocoder.discriminators import Discriminators
from koe.vocoder.griffin_lim import GriffinLim
from koe.vocoder.harmonic_noise import ConvNeXtBlock, HarmonicNoise, MelCorrection
from koe.vocoder.hifigan import Generator
from koe.vocoder.losses import mel_loss, stft_loss
from koe.vocoder.network import VocoderNetwork
from koe.vocoder.params import HarmonicNoiseParams, HiFiGANParams, VocoderParams
from koe.vocoder.short_time import ShortTime
from koe.vocoder.synthesis import NeuralVocoder, Vocoder
from koe.vocoder.training import VocoderTask

CPU = torch.device("cpu")
HIFIGAN_FRAMES = 32  # of a segment
TIMED_STEPS = 3  # of each kind, with and without discriminators, after one that is not measured
LARGEST_MAGNITUDE = 100.0  # of a spectrum, as in Vocos
MEASURES = {
    "parameters": ("parameters, millions", ".2f"), "steps": ("steps", "d"), "mos": ("MOS estimate", ".2f"),
    "mel": ("mel L1", ".3f"), "stft": ("STFT", ".3f"), "pesq": ("PESQ", ".2f"), "wer": ("WER", ".3f"),
    "real_time": ("times real time", ".0f"),
}


class InverseSTFT(VocoderNetwork):
    """Magnitude and phase of every frame's spectrum, and its inverse: Vocos (Siuzdak 2023; the idea is in iSTFTNet,
    Kaneko et al. 2022), with the trunk and sizes of `koe.vocoder.harmonic_noise`.
    """

    def __init__(self, params: HarmonicNoiseParams, mel: MelParams) -> None:
        super().__init__()
        self.params, self.hop_length = params, mel.hop_length
        self.input = nn.Conv1d(mel.n_mels, params.hidden, params.kernel, padding=params.kernel // 2)
        self.input_norm = nn.LayerNorm(params.hidden)
        self.blocks = nn.Sequential(*(
            ConvNeXtBlock(params.hidden, params.feed_forward, params.kernel, 1 / params.layers)
            for _ in range(params.layers)))
        self.output_norm = nn.LayerNorm(params.hidden)
        self.head = nn.Linear(params.hidden, mel.n_fft + 2)
        self.detail = nn.Linear(params.hidden, mel.n_mels)
        nn.init.zeros_(self.detail.weight)
        nn.init.zeros_(self.detail.bias)
        self.short_time = ShortTime(mel.n_fft, mel.hop_length)
        self.correction = MelCorrection(mel)

    def forward(self, mel: Tensor, source: Tensor | None = None) -> Tensor:
        features = (mel + 5) / 2.5  # small numbers, as for harmonic_noise
        hidden = self.blocks(self.input_norm(self.input(features.transpose(1, 2)).transpose(1, 2)))
        hidden = self.output_norm(hidden)
        log_magnitude, angle = self.head(hidden).chunk(2, dim=-1)
        magnitude = log_magnitude.exp().clamp(max=LARGEST_MAGNITUDE)
        wave = self.short_time.inverse(torch.complex(magnitude * angle.cos(), magnitude * angle.sin()))
        for _ in range(self.params.corrections):
            wave = self.correction(wave, mel + self.detail(hidden))
        return wave

    def context_frames(self) -> int:
        samples = self.short_time.reach + self.params.corrections * self.correction.reach
        return (self.params.layers + 1) * (self.params.kernel // 2) - (-samples // self.hop_length)


def sizes(params: Params, corrected: bool) -> HarmonicNoiseParams:
    chosen = params.vocoder.part(HarmonicNoiseParams)
    return chosen if corrected else chosen.model_copy(update={"corrections": 0})


TRAINED: dict[str, Callable[[Params], VocoderNetwork]] = {
    "harmonic_noise": lambda params: HarmonicNoise(sizes(params, True), params.mel),
    "harmonic_noise_uncorrected": lambda params: HarmonicNoise(sizes(params, False), params.mel),
    "istft": lambda params: InverseSTFT(sizes(params, False), params.mel),
    "istft_corrected": lambda params: InverseSTFT(sizes(params, True), params.mel),
    "hifigan": lambda params: Generator(params.vocoder.part(HiFiGANParams), params.mel.n_mels),
}
REFERENCES = ("griffin_lim", "recordings")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="a project's data/")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, one per vocoder")
    parser.add_argument("--minutes", type=float, default=6.0, help="of processor time for each training")
    parser.add_argument("--processes", type=int, default=1, help="of one thread each")
    parser.add_argument("--wer", action="store_true", help="also run a speech recogniser; needs English text")
    options = parser.parse_args()
    file = Path(__file__).parents[1] / "params.yaml"
    done = {run["vocoder"] for run in _read(options.out, options.minutes)}
    jobs = [name for name in (*TRAINED, *REFERENCES) if name not in done]
    with ProcessPoolExecutor(options.processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        futures = [pool.submit(run, name, params_for(name, file), options.minutes, options.data, options.wer)
                   for name in jobs]
        for name, future in zip(jobs, futures, strict=True):
            values = {"vocoder": name, "minutes": options.minutes, **future.result()}
            with options.out.open("a") as lines:
                lines.write(json.dumps(values) + "\n")
            print(", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                            for key, value in values.items()), flush=True)
    runs = {values["vocoder"]: values for values in _read(options.out, options.minutes)}
    print(table(runs))
    for measure in ("mos", "pesq"):
        for other in (*TRAINED, *REFERENCES):
            if other != "harmonic_noise":
                ratio = runs["harmonic_noise"][measure] / runs[other][measure]
                print(f"ratio {measure}_harmonic_noise_over_{other} {ratio:.3f}")


def params_for(name: str, file: Path) -> Params:
    """The parameters of a file, with the model whose sizes a vocoder of TRAINED takes: HiFi-GAN or harmonic_noise."""
    values = read_values(file)
    values["vocoder"]["model"] = "hifigan" if name == "hifigan" else "harmonic_noise"
    values["vocoder"]["training"]["schedule"]["warmup_steps"] = 30  # from random weights
    return check_params(values, str(file))


def run(name: str, params: Params, minutes: float, data: Path, wer: bool) -> dict[str, Any]:
    """One row of the table: trains the vocoder, if it is one of TRAINED, synthesises with it, and measures."""
    dataset, pairs = Dataset(list(params.corpora), params.mel, data), read_pairs(data / "pairs")
    train, test = (
        MelAudio(dataset, [(target, target) for target in sorted({pair.target for pair in pairs_in(pairs, split)})])
        for split in ("train", "test"))
    values: dict[str, Any] = {}
    if name == "recordings":
        waves = [test.read(index).wave for index in range(len(test.items))]
    elif name == "griffin_lim":
        values, waves = _synthesised(GriffinLim(params.mel, params.griffin_lim, params.seed), test)
    else:
        network, trained = train_vocoder(name, params, train, minutes)
        values, waves = _synthesised(NeuralVocoder(name, network, params.mel, CPU, "float32"), test)
        values |= {**trained, "parameters": sum(each.numel() for each in network.parameters()) / 1e6}
    return values | measured(waves, test, params.vocoder.loss.stft_sizes, wer)


def train_vocoder(name: str, params: Params, train: MelAudio, minutes: float) -> tuple[VocoderNetwork, dict[str, Any]]:
    """Trains for `minutes` of processor time. Returns the network, and the steps and seconds that it took."""
    alone = 1 + TIMED_STEPS
    trial = _seconds_of_steps(_task(name, params, train, 2 * alone, alone))
    each = np.median(trial[1:alone]) / 3 + 2 * np.median(trial[alone + 1 :]) / 3
    steps = max(3, round(60 * minutes / each))
    task = _task(name, params, train, steps, steps // 3)
    seconds = _seconds_of_steps(task)
    return task.model, {"steps": steps, "seconds": sum(seconds)}


def _task(name: str, params: Params, train: MelAudio, steps: int, spectral_steps: int) -> VocoderTask:
    changes = {"steps": steps, "spectral_steps": spectral_steps, "precision": "float32"}
    if name == "hifigan":
        changes["segment_size"] = HIFIGAN_FRAMES * params.mel.hop_length
    vocoder: VocoderParams = params.vocoder.model_copy(
        update={"training": params.vocoder.training.model_copy(update=changes)})
    torch.manual_seed(seed_for(params.seed, "vocoder"))
    network, discriminators = TRAINED[name](params), Discriminators(vocoder.discriminators)
    return VocoderTask(network, discriminators, vocoder, train, train, params.seed, CPU, params.speaker_pitch)


def _seconds_of_steps(task: VocoderTask) -> list[float]:
    """Trains to the end. Returns the processor time of every step, including the reading of its segments."""
    seconds, means, steps = [], RunningMeans(), task.params.training.steps
    for step in range(steps):
        begun = time.process_time()
        means.add(task.step(step + 1, task.read(step + 1)))
        if task.average is not None:
            update_average(task.average, task.generator, task.training.ema or 0.0, step)
        seconds.append(time.process_time() - begun)
        if (step + 1) % 100 == 0:
            losses = ", ".join(f"{name} {value:.3f}" for name, value in means.take().items())
            print(f"{type(task.generator).__name__} {step + 1}/{steps}: {losses}", flush=True)
    return seconds


def _synthesised(vocoder: Vocoder, test: MelAudio) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The real-time factor of synthesis from the recordings' mels, in processor time, and the waveforms."""
    pieces = [test.read(index) for index in range(len(test.items))]
    mels, f0s = [piece.mel for piece in pieces], [piece.f0 for piece in pieces]
    vocoder.synthesize(mels[:1], f0s[:1])  # the first time is slower
    begun = time.process_time()
    waves = vocoder.synthesize(mels, f0s)
    return {"real_time": 3600 * test.hours / (time.process_time() - begun)}, waves


def measured(waves: list[np.ndarray], test: MelAudio, stft_sizes: list[int], wer: bool) -> dict[str, float]:
    """Means over utterances; with `wer`, also the word error rate over all words."""
    mel = test.dataset.mel_params
    rows, errors = [], []
    for index, wave in enumerate(waves):
        real, made = (torch.from_numpy(each) for each in (test.read(index).wave, wave))
        wave_16_khz = at_16_khz(wave, mel.sample_rate)
        rows.append({
            "mos": estimate_mos(wave_16_khz),
            "mel": float(mel_loss(log_mel(real, mel), log_mel(made, mel))),
            "stft": float(stft_loss(real[None], made[None], stft_sizes)),
            "pesq": wide_band_pesq(wave_16_khz, at_16_khz(real.numpy(), mel.sample_rate)),
        })
        if wer:
            text = str(test.dataset.utterances.loc[test.items[index][1], "text"])
            errors.append(count_errors(text, transcribe(wave_16_khz)))
    means = {name: float(np.mean([row[name] for row in rows if row[name] is not None])) for name in rows[0]}
    if wer:
        means["wer"] = sum(each.word_errors for each in errors) / sum(each.words for each in errors)
    return means


def _read(path: Path, minutes: float) -> Iterator[dict[str, Any]]:
    if path.exists():
        yield from (run for run in map(json.loads, path.read_text().splitlines()) if run["minutes"] == minutes)


def table(runs: dict[str, dict[str, Any]]) -> str:
    """A Markdown table: a row per vocoder."""
    shown = {name: column for name, column in MEASURES.items() if any(name in values for values in runs.values())}
    lines = ["| | " + " | ".join(title for title, _ in shown.values()) + " |", "|---" * (len(shown) + 1) + "|"]
    for vocoder in (*TRAINED, *REFERENCES):
        cells = (format(runs[vocoder][name], style) if name in runs[vocoder] else "–"
                 for name, (_, style) in shown.items())
        lines.append(f"| {vocoder} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
