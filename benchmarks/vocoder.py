"""HiFi-GAN V1, synthesis and training, against a plain PyTorch implementation of the same.

    python benchmarks/vocoder.py
    python benchmarks/vocoder.py --profile           # and where our synthesis and training spend their time

`plain` is written like the public implementation: float32, weight norm not folded, as in `torch.nn.utils.weight_norm`;
discriminators judge real and generated waveforms one after the other, for their own step and again for the generator's;
AdamW with its defaults. `koe` is the code of `koe convert` and of the stage `train_vocoder`, in bfloat16 if the
processor has it. Both start from the same weights, are trained on the same batches, and print their losses. They take
turns in one process, so that a busy machine slows both.

The speech is synthetic: harmonics at a wandering F0, and noise. On a GPU it also measures frames a second in training
and the real-time factor of synthesis. Prints, last, lines `ratio <name> <value>`: plain over koe, and on a GPU koe
over published values.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm, weight_norm

from koe.audio.grid import frame_count, mel_contract
from koe.audio.mel import log_mel, mel_filterbank
from koe.audio.params import MelParams
from koe.audio.samples import to_int16
from koe.corpus.dataset import Dataset
from koe.corpus.tables.cuts import CUTS
from koe.device import resolve_device, resolve_precision
from koe.experiments.named import compose, read_experiment
from koe.params.reading import read_values
from koe.store import ShardWriter
from koe.tasks.conversion.schema import Params, check_params
from koe.vocoder.data import MelAudio, SegmentBatch
from koe.vocoder.discriminators import Discriminators
from koe.vocoder.excitation import excitation
from koe.vocoder.hifigan import Generator
from koe.vocoder.normalization import published_names
from koe.vocoder.params import HiFiGANParams
from koe.vocoder.synthesis import NeuralVocoder
from koe.vocoder.training import VocoderTask

SLOPE = 0.1
UTTERANCES = {"train": 32, "validation": 2}
WARM_ROUNDS = 1  # not measured
BATCH = 4  # segments of training on the processor
SYNTHESIS_SECONDS = 5
GPU_BATCHES = (16, 128)  # segments
GPU_STEPS = 40
# Mel frames a second of training V1 with mixed precision on one A100 of 80 GB, batches of 128; NVIDIA
# DeepLearningExamples, PyTorch/SpeechSynthesis/HiFiGAN/README.md, "Training performance", container 21.12-py3
HIFIGAN_FRAMES = 15_579
# V1 on a V100: Kong, Kim and Bae 2020, table 1
PAPER_REAL_TIME = 167.9

# The plain implementation, and its names ---------------------------------------------------------------------------


Judgement = tuple[Tensor, list[Tensor]]  # score, features
Judged = tuple[Judgement, Judgement]  # the real waveform, the generated one


def same_padding(kernel: int, dilation: int = 1) -> int:
    return (kernel - 1) * dilation // 2


class PlainResBlock(nn.Module):
    def __init__(self, channels: int, kernel: int, dilations: list[int]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            weight_norm(nn.Conv1d(channels, channels, kernel, 1, dilation=dilation,
                                  padding=same_padding(kernel, dilation))) for dilation in dilations)
        self.convs2 = nn.ModuleList(
            weight_norm(nn.Conv1d(channels, channels, kernel, 1, padding=same_padding(kernel))) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.convs1, self.convs2, strict=True):
            hidden = first(F.leaky_relu(x, SLOPE))
            x = second(F.leaky_relu(hidden, SLOPE)) + x
        return x


class PlainGenerator(nn.Module):
    def __init__(self, params: HiFiGANParams, n_mels: int) -> None:
        super().__init__()
        channels = params.upsample_channels
        self.kernels = len(params.resblock_kernels)
        self.conv_pre = weight_norm(nn.Conv1d(n_mels, channels, 7, 1, padding=3))
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(params.upsample_rates, params.upsample_kernels, strict=True):
            self.ups.append(weight_norm(nn.ConvTranspose1d(channels, channels // 2, kernel, rate,
                                                           padding=(kernel - rate) // 2)))
            channels //= 2
            for size, dilations in zip(params.resblock_kernels, params.resblock_dilations, strict=True):
                self.resblocks.append(PlainResBlock(channels, size, dilations))
        self.conv_post = weight_norm(nn.Conv1d(channels, 1, 7, 1, padding=3))

    def forward(self, mel: Tensor) -> Tensor:
        """mel (B, n_mels, T) → (B, 1, samples)."""
        x = self.conv_pre(mel)
        for stage, upsample in enumerate(self.ups):
            x = upsample(F.leaky_relu(x, SLOPE))
            first, *rest = self.resblocks[stage * self.kernels : (stage + 1) * self.kernels]
            total = first(x)
            for block in rest:
                total += block(x)
            x = total / self.kernels
        return torch.tanh(self.conv_post(F.leaky_relu(x)))


class PlainPeriodDiscriminator(nn.Module):
    def __init__(self, period: int) -> None:
        super().__init__()
        self.period = period
        widths = (1, 32, 128, 512, 1024, 1024)
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, (5, 1), (3 if layer < 4 else 1, 1), padding=(2, 0)))
            for layer, (before, after) in enumerate(pairwise(widths)))
        self.conv_post = weight_norm(nn.Conv2d(1024, 1, (3, 1), 1, padding=(1, 0)))

    def forward(self, x: Tensor) -> Judgement:
        batch, channels, samples = x.shape
        if samples % self.period:
            added = self.period - samples % self.period
            x, samples = F.pad(x, (0, added), "reflect"), samples + added
        return run_layers(self.convs, self.conv_post, x.view(batch, channels, samples // self.period, self.period))


class PlainScaleDiscriminator(nn.Module):
    def __init__(self, spectral: bool) -> None:
        super().__init__()
        norm = spectral_norm if spectral else weight_norm
        self.convs = nn.ModuleList(norm(layer) for layer in (
            nn.Conv1d(1, 128, 15, 1, padding=7), nn.Conv1d(128, 128, 41, 2, groups=4, padding=20),
            nn.Conv1d(128, 256, 41, 2, groups=16, padding=20), nn.Conv1d(256, 512, 41, 4, groups=16, padding=20),
            nn.Conv1d(512, 1024, 41, 4, groups=16, padding=20), nn.Conv1d(1024, 1024, 41, 1, groups=16, padding=20),
            nn.Conv1d(1024, 1024, 5, 1, padding=2)))
        self.conv_post = norm(nn.Conv1d(1024, 1, 3, 1, padding=1))

    def forward(self, x: Tensor) -> Judgement:
        return run_layers(self.convs, self.conv_post, x)


def run_layers(layers: nn.ModuleList, last: nn.Module, x: Tensor) -> Judgement:
    features = []
    for layer in layers:
        x = F.leaky_relu(layer(x), SLOPE)
        features.append(x)
    x = last(x)
    return torch.flatten(x, 1, -1), [*features, x]


class PlainPeriods(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(PlainPeriodDiscriminator(period) for period in (2, 3, 5, 7, 11))

    def forward(self, real: Tensor, made: Tensor) -> list[Judged]:
        return [(judge(real), judge(made)) for judge in self.discriminators]


class PlainScales(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(PlainScaleDiscriminator(scale == 0) for scale in range(3))

    def forward(self, real: Tensor, made: Tensor) -> list[Judged]:
        judged = []
        for scale, judge in enumerate(self.discriminators):
            if scale:
                real, made = F.avg_pool1d(real, 4, 2, padding=2), F.avg_pool1d(made, 4, 2, padding=2)
            judged.append((judge(real), judge(made)))
        return judged


class PlainDiscriminators(nn.Module):
    """Both kinds: real and generated (B, 1, samples) → score and features of both, by discriminator."""

    def __init__(self) -> None:
        super().__init__()
        self.mpd, self.msd = PlainPeriods(), PlainScales()

    def forward(self, real: Tensor, made: Tensor) -> list[Judged]:
        return [*self.mpd(real, made), *self.msd(real, made)]


class PlainTrainer:
    def __init__(self, generator: PlainGenerator, discriminators: PlainDiscriminators, params: Params) -> None:
        self.generator, self.discriminators, self.mel = generator, discriminators, params.mel
        self.weights = params.vocoder.loss.weights
        schedule, optimizer = params.vocoder.training.schedule, params.vocoder.training.optimizer
        self.optimizers = [torch.optim.AdamW(network.parameters(), schedule.learning_rate, betas=optimizer.betas)
                           for network in (generator, discriminators)]

    def log_mel(self, wave: Tensor) -> Tensor:
        """wave (B, samples) → (B, n_mels, T)."""
        mel, edge = self.mel, (self.mel.n_fft - self.mel.hop_length) // 2
        padded = F.pad(wave.unsqueeze(1), (edge, edge), mode="reflect").squeeze(1)
        spectrum = torch.view_as_real(torch.stft(
            padded, mel.n_fft, hop_length=mel.hop_length, win_length=mel.win_length,
            window=torch.hann_window(mel.win_length), center=False, onesided=True, return_complex=True))
        magnitude = torch.sqrt(spectrum.pow(2).sum(-1) + 1e-9)
        return torch.log(torch.clamp(torch.matmul(mel_filterbank(mel), magnitude), min=mel.floor))

    def step(self, batch: SegmentBatch) -> dict[str, float]:
        generator_optimizer, discriminator_optimizer = self.optimizers
        real, real_mel = batch.wave.unsqueeze(1), self.log_mel(batch.wave)
        made = self.generator(batch.mel.transpose(1, 2))
        made_mel = self.log_mel(made.squeeze(1))

        discriminator_optimizer.zero_grad()
        judged = self.discriminators(real, made.detach())
        discriminator = torch.zeros(())
        for (true, _), (false, _) in judged:
            discriminator = discriminator + torch.mean((1 - true) ** 2) + torch.mean(false**2)
        discriminator.backward()
        discriminator_optimizer.step()

        generator_optimizer.zero_grad()
        mel = F.l1_loss(real_mel, made_mel)
        judged = self.discriminators(real, made)
        matching, adversarial = torch.zeros(()), torch.zeros(())
        for (_, ours), (false, theirs) in judged:
            adversarial = adversarial + torch.mean((1 - false) ** 2)
            for true_feature, false_feature in zip(ours, theirs, strict=True):
                matching = matching + torch.mean(torch.abs(true_feature - false_feature))
        total = self.weights.mel * mel + self.weights.feature_matching * matching
        (total + self.weights.adversarial * adversarial).backward()
        generator_optimizer.step()
        losses = {"discriminator": discriminator, "mel": mel, "feature_matching": matching, "adversarial": adversarial}
        return {name: float(loss.detach()) for name, loss in losses.items()}


def plain_copies(generator: Generator, discriminators: Discriminators, params: Params
                 ) -> tuple[PlainGenerator, PlainDiscriminators]:
    """Plain networks with the same weights."""
    plain = PlainGenerator(params.vocoder.part(HiFiGANParams), params.mel.n_mels), PlainDiscriminators()
    for copy, network in zip(plain, (generator, discriminators), strict=True):
        state = published_names(network.state_dict())
        copy.load_state_dict({name: state[name] for name in copy.state_dict()})
    return plain


# Parameters and data -----------------------------------------------------------------------------------------------


def v1_params(batch_size: int) -> Params:
    """V1 as published, in the best precision of the machine, on true mels."""
    values = read_values()
    values["vocoder"] = compose(values, read_experiment("hifigan_v1"))["vocoder"]
    values["vocoder"]["training"].update(batch_size=batch_size, precision="auto", true_mels=1.0)
    return check_params(values)


def synthetic_speech(folder: Path, mel: MelParams) -> tuple[MelAudio, MelAudio]:
    """Writes recordings of about four seconds and reads them as the stages do: for training, and held out."""
    generator = np.random.default_rng(0)
    names = [f"bench/voice/{number:03d}" for number in range(sum(UTTERANCES.values()))]
    cuts, nothing_cut = [], {name: "" if kind is str else 0 for name, kind in CUTS.columns.items()}
    with (
        ShardWriter(folder / "resampled" / "bench") as audio,
        ShardWriter(folder / "features" / "bench", {"mel": mel_contract(mel)}) as features,
    ):
        for name in names:
            f0 = speech_f0(int(generator.integers(300, 400)), generator)
            wave, _ = to_int16(0.1 * excitation(f0, mel.hop_length, mel.sample_rate, generator))
            audio.add(name, audio=wave)
            features.add(name, mel=log_mel(torch.from_numpy(wave / np.float32(32768)), mel).numpy(), f0=f0)
            cuts.append(nothing_cut | {"utterance": name, "end": len(wave)})
    CUTS.write(folder / "trim" / "bench", pd.DataFrame(cuts))
    dataset, split = Dataset(["bench"], mel, folder), UTTERANCES["train"]
    items = [(name, name) for name in names]
    return MelAudio(dataset, items[:split]), MelAudio(dataset, items[split:])


def speech_f0(frames: int, generator: np.random.Generator) -> np.ndarray:
    """A wandering F0 (frames,) in Hz, a third of it unvoiced."""
    track = np.cumsum(generator.standard_normal(frames)) * 0.01
    voiced = np.repeat(generator.random(frames // 20 + 1) > 1 / 3, 20)[:frames]
    return np.where(voiced, 150 * np.exp(track - track.mean()), 0).astype(np.float32)


# Measurements ------------------------------------------------------------------------------------------------------


class Spent(NamedTuple):
    """Time spent."""

    clock: float  # seconds
    processor: float  # seconds of all cores together, which depend little on how busy the machine is


def spent(work: Callable[[], object]) -> Spent:
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - clock, time.process_time() - processor)


def compare(what: str, sides: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Lets all sides take turns and prints medians. Returns the speed of each relative to the first.

    Ratios are of clock time; since the machine may be busy, those of processor time are printed beside them.
    """
    measured = []
    for _ in range(WARM_ROUNDS + rounds):
        measured.append([spent(side) for side in sides.values()])
    seconds = np.array(measured[WARM_ROUNDS:])
    ratios = np.median(seconds[:, :1] / seconds, axis=0)
    for name, taken, ratio in zip(sides, np.median(seconds, axis=0), ratios, strict=True):
        print(f"{what}, {name:<14} clock {taken[0]:7.3f} s ({ratio[0]:4.2f} x)   "
              f"processors {taken[1]:7.3f} s ({ratio[1]:4.2f} x)", flush=True)
    return dict(zip(sides, ratios[:, 0].tolist(), strict=True))


def networks(params: Params) -> tuple[Generator, Discriminators]:
    """New networks, always with the same weights."""
    torch.manual_seed(params.seed)
    vocoder = params.vocoder
    return Generator(vocoder.part(HiFiGANParams), params.mel.n_mels), Discriminators(vocoder.discriminators)


def plain_generator(params: Params) -> PlainGenerator:
    generator, discriminators = networks(params)
    return plain_copies(generator, discriminators, params)[0].eval()


def vocoder(params: Params, device: str, precision: str) -> NeuralVocoder:
    return NeuralVocoder("v1", networks(params)[0], params.mel, torch.device(device), precision)


def measure_synthesis(params: Params, data: MelAudio, rounds: int) -> Iterator[str]:
    """Synthesis of the held-out mel, cut or repeated to five seconds, by all sides, and our difference from plain."""
    frames = frame_count(SYNTHESIS_SECONDS * params.mel.sample_rate, params.mel)
    mel = np.resize(data.read(0).mel, (frames, params.mel.n_mels))
    plain, tensor = plain_generator(params), torch.from_numpy(mel.T.copy())[None]

    @torch.inference_mode()
    def speak() -> np.ndarray:
        return plain(tensor)[0, 0].numpy()

    ours = {f"koe {name}": vocoder(params, "cpu", name) for name in ("float32", "bfloat16")}
    sides: dict[str, Callable[[], object]] = {
        "plain": speak, **{name: partial(each.synthesize, [mel]) for name, each in ours.items()}}
    edge = networks(params)[0].context_frames() * params.mel.hop_length  # ours see silence after the end
    expected = speak()[:-edge]
    for name, each in ours.items():
        off = each.synthesize([mel])[0][:-edge] - expected
        print(f"{name}: differs from plain by at most {np.abs(off).max():.1e}, "
              f"{10 * np.log10(np.mean(expected**2) / np.mean(off**2)):.0f} dB below it")
    ratios = compare(f"synthesis of {SYNTHESIS_SECONDS} s", sides, rounds)
    best = resolve_precision("auto", torch.device("cpu"), "precision")
    yield f"ratio synthesis_v1 {ratios[f'koe {best}']:.2f}"


class Contest:
    """Both trainings, before their first step."""

    def __init__(self, params: Params, train: MelAudio, held_out: MelAudio) -> None:
        generator, discriminators = networks(params)
        self.plain = PlainTrainer(*plain_copies(generator, discriminators, params), params)
        self.koe = VocoderTask(generator, discriminators, params.vocoder, train, held_out, params.seed,
                               torch.device("cpu"), params.speaker_pitch)
        self.losses: dict[str, list[dict[str, float]]] = {"plain": [], "koe": []}

    def step(self, side: str) -> None:
        """The next step of one of the two."""
        done = self.losses[side]
        batch = self.koe.sampler.batch_at(len(done))
        done.append(self.plain.step(batch) if side == "plain" else self.koe.step(len(done) + 1, batch))


def measure_training(contest: Contest, rounds: int) -> Iterator[str]:
    """The median times of a step, the losses of both, and the share of reading a batch in a step."""
    koe = f"koe {contest.koe.precision}"
    ratios = compare(f"a training step of {BATCH} segments", {
        "plain": lambda: contest.step("plain"), koe: lambda: contest.step("koe")}, rounds)
    steps = len(contest.losses["koe"])
    reading = spent(lambda: [contest.koe.sampler.batch_at(step) for step in range(steps)])
    training = spent(lambda: contest.step("koe"))
    print(f"reading a batch takes {100 * reading.processor / steps / training.processor:.2f} % of a step's processor "
          "time; in a training run it happens during the step before")
    last = len(contest.losses["plain"]) - 1
    table = pd.DataFrame({(f"step {step + 1}", side): pd.Series(contest.losses[side][step])
                          for step in (0, last) for side in ("plain", "koe")}).loc[list(contest.losses["plain"][0])]
    print(f"losses from the same weights on the same batches:\n{table.round(4).to_string()}")
    yield f"ratio train_step_v1 {ratios[koe]:.2f}"


def profile_step(name: str, work: Callable[[], object]) -> None:
    """Prints the longest kernels of one of our steps, after one that is not measured."""
    work()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        work()
    kernels = pd.Series({event.key: event.self_cpu_time_total / 1000 for event in profile.key_averages()})
    longest = kernels.sort_values(ascending=False)[:12]
    table = pd.DataFrame({"ms": longest, "share": longest / kernels.sum()})
    print(f"{name}, the longest kernels:\n{table.round(3).to_string()}")


def measure_gpu_training(params: Params, train: MelAudio, held_out: MelAudio, batch_size: int) -> Iterator[str]:
    """Mel frames a second of a training step in bfloat16, with batches that are already on the GPU."""
    device = torch.device("cuda")
    task = VocoderTask(*networks(params), params.vocoder, train, held_out, params.seed, device,
                       params.speaker_pitch)
    rows = torch.arange(batch_size, device=device) % BATCH
    small = task.sampler.batch_at(0).to(device)
    batch = SegmentBatch(small.mel[rows], small.wave[rows], small.present[rows])

    def train_steps(first: int, count: int) -> float:
        torch.cuda.synchronize()
        started = time.perf_counter()
        for step in range(first, first + count):
            task.step(step, batch)
        torch.cuda.synchronize()
        return (time.perf_counter() - started) / count

    train_steps(1, 5)  # cuDNN chooses its kernels
    taken = train_steps(6, GPU_STEPS)
    frames = batch.mel.shape[0] * batch.mel.shape[1] / taken
    print(f"training on {torch.cuda.get_device_name()}, {batch_size} segments in {task.precision}: "
          f"{1000 * taken:.1f} ms a step, {frames:,.0f} frames/s, {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    yield f"ratio gpu_training_{batch_size} {frames / HIFIGAN_FRAMES:.2f}"


def measure_gpu_synthesis(params: Params, data: MelAudio) -> Iterator[str]:
    """The real-time factor of synthesising sixteen utterances together, including the copy back to numpy."""
    mel = data.read(0).mel
    each, seconds = vocoder(params, "cuda", "auto"), 16 * len(mel) * params.mel.hop_length / params.mel.sample_rate
    each.synthesize([mel] * 16)
    factor = seconds / np.median([spent(lambda: each.synthesize([mel] * 16)).clock for _ in range(7)])
    print(f"synthesis on {torch.cuda.get_device_name()}: {factor:,.0f} times real time")
    yield f"ratio gpu_synthesis {factor / PAPER_REAL_TIME:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="turns measured (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: %(default)s, the cores")
    parser.add_argument("--profile", action="store_true", help="also show where our code spends its time")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    params, ratios = v1_params(BATCH), list[str]()
    print(f"{options.threads} threads; {torch.backends.cpu.get_cpu_capability()}, bfloat16 "
          + ("used" if resolve_precision("auto", torch.device("cpu"), "precision") == "bfloat16" else "not available"))
    with tempfile.TemporaryDirectory() as folder:
        train, held_out = synthetic_speech(Path(folder), params.mel)
        ratios += measure_synthesis(params, held_out, options.rounds)
        contest = Contest(params, train, held_out)
        ratios += measure_training(contest, options.rounds)
        if options.profile:
            profile_step("training", lambda: contest.step("koe"))
            ours, mel = vocoder(params, "cpu", "auto"), held_out.read(0).mel
            profile_step("synthesis", lambda: ours.synthesize([mel]))
        if resolve_device().type == "cuda":
            for batch_size in GPU_BATCHES:
                ratios += measure_gpu_training(params, train, held_out, batch_size)
            ratios += measure_gpu_synthesis(params, held_out)
        else:
            print("no GPU: frames a second of training and synthesis on one were not measured")
    print("\n".join(ratios))


if __name__ == "__main__":
    main()
