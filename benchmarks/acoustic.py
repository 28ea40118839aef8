"""Training and running the acoustic model against a plain PyTorch implementation of the same.

    python benchmarks/acoustic.py
    python benchmarks/acoustic.py --steps 200        # and the losses of both after 200 training steps
    python benchmarks/acoustic.py --profile          # and where our training step spends its time

Both have the sizes of the preset `log` and are trained on the same batches with the same losses and learning rates: 16
pairs of about 420 and 430 frames, three frames a step. `plain` is written like the research log's code: float32,
attention in separate products (relative positions as in Transformer-XL), batch norm over padding too, a length
regulator that loops over utterances and steps in Python, PyTorch's own dropout, Adam with its defaults. `koe` is the
code of the stage `train_acoustic`. Their steps alternate in one process, so that a busy machine slows both.

Without --data the speech is synthetic: source and target are made from the same smooth random tracks, timed
differently. On a GPU it also measures frames a second at the sizes of the presets `paper` and `large`. Prints, last,
lines `ratio <name> <value>`: plain over koe, and on a GPU koe's frames a second over those published for FastPitch.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn

from koe.align.pairs import read_durations
from koe.audio.grid import frame_count, mel_contract
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import pairs_in, read_pairs
from koe.corpus.statistics import Normalization, measure, read_statistics
from koe.device import resolve_device
from koe.experiments.named import compose, read_experiment
from koe.names import Direction, Pair
from koe.nn.length import round_durations
from koe.nn.params import ConformerParams, PostnetParams, PredictorParams
from koe.params.reading import read_values
from koe.steps import batch_steps, steps_of
from koe.store import ShardWriter
from koe.tasks.conversion.data import Batch, PairReader
from koe.tasks.conversion.inference import convert_items
from koe.tasks.conversion.losses import acoustic_losses, weighted_sum
from koe.tasks.conversion.nars2s import NARS2S, Output, Prosody, Source
from koe.tasks.conversion.params import AcousticParams
from koe.tasks.conversion.schema import Params, check_params
from koe.tasks.conversion.speakers import Speakers
from koe.tasks.conversion.training import AcousticTask

PEAK_RATE = 1.0e-3  # of both, after 40 steps of warm-up; the log's own warm-up has 4 000 steps
WARMUP_STEPS = 40
LOOKS = (50, 100, 200)  # steps after which losses are compared
WARM_STEPS = 3  # not measured
GPU_UTTERANCES = 96  # in a batch: 40 000 frames, as the preset `large` has them
GPU_STEPS = 40
# Mel frames a second of training with mixed precision on one A100 of 80 GB, batches of 128; NVIDIA
# DeepLearningExamples, PyTorch/SpeechSynthesis/FastPitch/README.md, "Training performance", container 22.08-py3
FASTPITCH_FRAMES = 148_149
SENTENCES = {"train": 192, "validation": 16}
TEN_SECONDS = "long"  # a held-out sentence for conversion

# The plain implementation ------------------------------------------------------------------------------------------


class PlainFeedForward(nn.Module):
    def __init__(self, params: ConformerParams) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(params.hidden), nn.Linear(params.hidden, params.feed_forward), nn.SiLU(),
            nn.Dropout(params.inner_dropout), nn.Linear(params.feed_forward, params.hidden), nn.Dropout(params.dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class PlainAttention(nn.Module):
    """Scores by content and by distance, each with a learned bias, added before the softmax (Transformer-XL)."""

    def __init__(self, params: ConformerParams) -> None:
        super().__init__()
        self.heads, self.size = params.heads, params.attention // params.heads
        self.norm = nn.LayerNorm(params.hidden)
        self.query = nn.Linear(params.hidden, params.attention)
        self.key = nn.Linear(params.hidden, params.attention)
        self.value = nn.Linear(params.hidden, params.attention)
        self.distance = nn.Linear(params.attention, params.attention, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(self.heads, self.size))
        self.position_bias = nn.Parameter(torch.zeros(self.heads, self.size))
        self.out = nn.Linear(params.attention, params.hidden)
        self.attention_dropout = nn.Dropout(params.attention_dropout)
        self.dropout = nn.Dropout(params.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, _ = x.shape
        x = self.norm(x)
        query = self.query(x).view(batch, length, self.heads, self.size)
        key = self.key(x).view(batch, length, self.heads, self.size).permute(0, 2, 3, 1)
        value = self.value(x).view(batch, length, self.heads, self.size).transpose(1, 2)
        table = self.distance(self._table(length)).view(2 * length - 1, self.heads, self.size).permute(1, 2, 0)
        content = torch.matmul((query + self.content_bias).transpose(1, 2), key)
        position = self._shift(torch.matmul((query + self.position_bias).transpose(1, 2), table))
        scores = ((content + position) / self.size**0.5).masked_fill(~mask[:, None, None, :], -1e9)
        weights = self.attention_dropout(torch.softmax(scores, dim=-1))
        attended = torch.matmul(weights, value).transpose(1, 2).contiguous().view(batch, length, -1)
        return self.dropout(self.out(attended))

    def _table(self, length: int) -> Tensor:
        """Sinusoids of distances length - 1 down to 1 - length."""
        width = self.heads * self.size
        distances = torch.arange(length - 1, -length, -1.0)[:, None]
        turns = distances / 10000 ** (torch.arange(0, width, 2) / width)
        table = torch.zeros(2 * length - 1, width)
        table[:, 0::2], table[:, 1::2] = turns.sin(), turns.cos()
        return table

    @staticmethod
    def _shift(scores: Tensor) -> Tensor:
        """(B, N, T, 2 T - 1) by distance → (B, N, T, T) by position."""
        batch, heads, length, distances = scores.shape
        padded = torch.cat([scores.new_zeros(batch, heads, length, 1), scores], dim=-1)
        shifted = padded.view(batch, heads, distances + 1, length)[:, :, 1:]
        return shifted.reshape(batch, heads, length, distances)[..., :length]


class PlainConvolution(nn.Module):
    def __init__(self, params: ConformerParams) -> None:
        super().__init__()
        channels, kernel = params.convolution, params.kernel
        self.norm = nn.LayerNorm(params.hidden)
        self.layers = nn.Sequential(
            nn.Conv1d(params.hidden, 2 * channels, 1), nn.GLU(dim=1),
            nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels),
            nn.BatchNorm1d(channels), nn.SiLU(), nn.Conv1d(channels, params.hidden, 1), nn.Dropout(params.dropout),
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm(x).masked_fill(~mask[..., None], 0)
        return self.layers(x.transpose(1, 2)).transpose(1, 2)


class PlainBlock(nn.Module):
    def __init__(self, params: ConformerParams) -> None:
        super().__init__()
        self.before, self.after = PlainFeedForward(params), PlainFeedForward(params)
        self.attention, self.convolution = PlainAttention(params), PlainConvolution(params)
        self.norm = nn.LayerNorm(params.hidden)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + 0.5 * self.before(x)
        x = x + self.attention(x, mask)
        x = x + self.convolution(x, mask)
        return self.norm(x + 0.5 * self.after(x))


class PlainPredictor(nn.Module):
    def __init__(self, hidden: int, params: PredictorParams) -> None:
        super().__init__()
        widths = [hidden] + [params.filter] * params.layers
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, params.filter, params.kernel, padding=params.kernel // 2) for before in widths[:-1])
        self.norms = nn.ModuleList(nn.LayerNorm(params.filter) for _ in self.convolutions)
        self.dropout = nn.Dropout(params.dropout)
        self.out = nn.Linear(params.filter, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = convolution(x.masked_fill(~mask[..., None], 0).transpose(1, 2)).transpose(1, 2)
            x = self.dropout(norm(torch.relu(x)))
        return self.out(x).squeeze(-1)


class PlainPostnet(nn.Module):
    def __init__(self, n_mels: int, params: PostnetParams) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = n_mels
        for _ in range(params.layers - 1):
            layers += [nn.Conv1d(width, params.filter, params.kernel, padding=params.kernel // 2),
                       nn.BatchNorm1d(params.filter), nn.Tanh(), nn.Dropout(params.dropout)]
            width = params.filter
        self.layers = nn.Sequential(*layers, nn.Conv1d(width, n_mels, params.kernel, padding=params.kernel // 2))

    def forward(self, mel: Tensor) -> Tensor:
        return mel + self.layers(mel.transpose(1, 2)).transpose(1, 2)


class PlainNARS2S(nn.Module):
    """The log's configuration only: relative positions, batch norm, logarithmic durations, reshaped frames, one value
    of pitch and of energy per step, one width, one source and one target.
    """

    def __init__(self, params: AcousticParams, n_mels: int) -> None:
        super().__init__()
        hidden, self.factor, self.n_mels = params.encoder.hidden, params.reduction.factor, n_mels
        self.stopped = {name for name in ("duration", "pitch", "energy") if getattr(params, name).stop_gradient}
        self.reduce = nn.Linear(self.factor * n_mels, hidden)
        self.encoder = nn.ModuleList(PlainBlock(params.encoder) for _ in range(params.encoder.layers))
        self.duration = PlainPredictor(hidden, params.duration)
        self.source_prosody = nn.Linear(2, hidden)
        self.pitch = PlainPredictor(hidden, params.pitch)
        self.energy = PlainPredictor(hidden, params.energy)
        kernel = params.prosody_embedding.kernel
        self.pitch_embedding = nn.Conv1d(1, hidden, kernel, padding=kernel // 2)
        self.energy_embedding = nn.Conv1d(1, hidden, kernel, padding=kernel // 2)
        self.decoder = nn.ModuleList(PlainBlock(params.decoder) for _ in range(params.decoder.layers))
        self.expand = nn.Linear(hidden, self.factor * n_mels)
        self.postnet = PlainPostnet(n_mels, params.postnet)

    def forward(
        self, source: Source, durations: Tensor | None = None, prosody: Prosody | None = None, control: object = None
    ) -> Output:
        """Without durations and prosody, as in conversion, the predicted ones are used; `control` is not supported."""
        source_mask = self._mask(source.steps, source.mel.shape[1])
        x = self.reduce(source.mel)
        for block in self.encoder:
            x = block(x, source_mask)
        predicted = torch.expm1(self.duration(self._input("duration", x), source_mask)).masked_fill(~source_mask, 0)
        if durations is None:
            durations = round_durations(predicted, source_mask)
        size = batch_steps(int(durations.sum(dim=1).max()))
        carried = self._regulate(torch.cat([x, source.pitch[..., None], source.energy[..., None]], dim=-1), durations,
                                 size)
        steps = durations.sum(dim=1)
        mask = self._mask(steps, size)
        x, source_prosody = carried[..., :-2], self.source_prosody(carried[..., -2:])
        pitch = self.pitch(self._input("pitch", x) + source_prosody, mask)
        energy = self.energy(self._input("energy", x) + source_prosody, mask)
        used = Prosody(pitch, energy) if prosody is None else prosody
        x = x + self.pitch_embedding(used.pitch[:, None]).transpose(1, 2)
        x = x + self.energy_embedding(used.energy[:, None]).transpose(1, 2)
        for block in self.decoder:
            x = block(x, mask)
        before = self.expand(x).masked_fill(~mask[..., None], 0).reshape(len(x), -1, self.n_mels)
        return Output(before, self.postnet(before), predicted, durations, pitch, energy, steps)

    def _input(self, predictor: str, x: Tensor) -> Tensor:
        return x.detach() if predictor in self.stopped else x

    @staticmethod
    def _mask(lengths: Tensor, size: int) -> Tensor:
        return torch.arange(size)[None, :] < lengths[:, None]

    @staticmethod
    def _regulate(x: Tensor, durations: Tensor, size: int) -> Tensor:
        utterances = []
        for utterance, counts in zip(x, durations, strict=True):
            repeated = torch.cat([step.expand(int(count), -1) for step, count in zip(utterance, counts, strict=True)])
            utterances.append(F.pad(repeated, (0, 0, 0, size - len(repeated))))
        return torch.stack(utterances)


class PlainTrainer:
    def __init__(
        self, network: PlainNARS2S, params: AcousticParams,
        optimizer: type[torch.optim.Adam | torch.optim.AdamW] = torch.optim.Adam,
    ) -> None:
        self.network, self.params = network, params
        settings = params.training.optimizer
        self.optimizer = optimizer(network.parameters(), betas=settings.betas, eps=settings.epsilon)

    def step(self, batch: Batch, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        output = self.network(batch.source, batch.durations, batch.prosody)
        losses = acoustic_losses(output, batch, self.params.loss)
        self.optimizer.zero_grad()
        weighted_sum(losses, self.params.loss.weights).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.params.training.gradient_clip or float("inf"))
        self.optimizer.step()
        {part: float(loss.detach()) for part, loss in losses.items()}  # for its log


# Parameters and data -----------------------------------------------------------------------------------------------


def preset_params(preset: str, steps: int, batch_size: int, precision: str, compiled: bool) -> Params:
    """The acoustic model of a preset, and everything else from params.yaml."""
    values = read_values()
    values["acoustic"] = compose(values, read_experiment(preset))["acoustic"]
    values["acoustic"]["conditioning"]["by"] = "none"
    values["acoustic"]["training"].update(
        steps=steps, epochs=None, batch_size=batch_size, batch_frames=None, accumulate=1, precision=precision,
        compile=compiled, ema=None, average_best=None)
    values["acoustic"]["training"]["schedule"].update(
        name="cosine_per_step", learning_rate=PEAK_RATE, warmup_steps=min(WARMUP_STEPS, steps - 1), anneal_steps=[])
    return check_params(values)


def synthetic_speech(folder: Path, params: Params) -> tuple[PairReader, list[Pair], list[Pair]]:
    """Writes features of two speakers and reads them as the stages do. Returns the reader, and the pairs to train on
    and those held out, of which the last is ten seconds long.
    """
    generator = np.random.default_rng(0)
    bases = [gaussian_filter1d(generator.standard_normal((8, params.mel.n_mels)), 3, axis=1) for _ in range(2)]
    lengths = {f"{number:03d}": (int(generator.integers(408, 433)), int(generator.integers(420, 433)))
               for number in range(sum(SENTENCES.values()))}
    ten_seconds = frame_count(10 * params.mel.sample_rate, params.mel)
    durations: dict[str, np.ndarray] = {}
    pairs: list[Pair] = []
    with ShardWriter(folder / "features" / "bench", {"mel": mel_contract(params.mel)}) as writer:
        for sentence, frames in {**lengths, TEN_SECONDS: (ten_seconds, ten_seconds)}.items():
            pair = Pair(f"bench/{sentence}/source-target", f"bench/source/{sentence}", f"bench/target/{sentence}")
            pairs.append(pair)
            tracks = gaussian_filter1d(generator.standard_normal((frames[0], 8)), 4, axis=0) * 4
            position = warp(tracks[:, 0], frames[1])
            for name, basis, own in ((pair.source, bases[0], tracks), (pair.target, bases[1], tracks[position])):
                writer.add(name, **features(own, basis, generator))
            durations[pair.name] = durations_of(position, frames, params.acoustic.reduction.factor)
    dataset = Dataset(["bench"], params.mel, folder)
    train, rest = pairs[: SENTENCES["train"]], pairs[SENTENCES["train"]:]
    sides = {"source": [pair.source for pair in train], "target": [pair.target for pair in train]}
    statistics = measure(dataset, {**sides, "overall": sides["source"] + sides["target"]}, params.stats.outliers)
    normalization = Normalization(params.stats, statistics["source"], statistics["target"], statistics["overall"])
    return make_reader(dataset, durations, normalization, params), train, rest


def features(tracks: np.ndarray, basis: np.ndarray, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Mel, F0 and energy made from hidden tracks (frames, 8), a speaker's basis (8, n_mels) and some noise."""
    mel = -5 + np.tanh(tracks) @ basis * 2 + 0.1 * generator.standard_normal((len(tracks), basis.shape[1]))
    voiced = gaussian_filter1d(tracks[:, 1], 4) > -0.5
    f0 = np.where(voiced, 150 * np.exp(0.2 * gaussian_filter1d(tracks[:, 2], 4)), 0)
    arrays = {"mel": mel, "f0": f0, "energy": mel.mean(axis=1)}
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def warp(track: np.ndarray, target_frames: int) -> np.ndarray:
    """The source frame of each target frame, with the pace given by a track."""
    ends = np.cumsum(np.exp(0.4 * np.tanh(gaussian_filter1d(track, 8))))
    return np.searchsorted(ends / ends[-1], (np.arange(target_frames) + 0.5) / target_frames)


def durations_of(position: np.ndarray, frames: tuple[int, int], factor: int) -> np.ndarray:
    """Target steps of each source step (S,), from the source frame of each target frame and the frames of both."""
    source_frames, target_frames = frames
    middles = np.minimum(np.arange(steps_of(target_frames, factor)) * factor + factor // 2, target_frames - 1)
    return np.bincount(position[middles] // factor, minlength=steps_of(source_frames, factor)).astype(np.int32)


def real_speech(data: Path, params: Params) -> tuple[PairReader, list[Pair], list[Pair]]:
    """The output of a project's stages up to `stats`, for one source and one target."""
    dataset, table = Dataset(list(params.corpora), params.mel, data), read_pairs(data / "pairs")
    durations = read_durations(data / "alignment", dataset, table, params.acoustic.reduction.factor)
    reader = make_reader(dataset, durations, read_statistics(data / "stats", params.mel), params)
    return reader, pairs_in(table, "train"), pairs_in(table, "validation")


def make_reader(
    dataset: Dataset, durations: dict[str, np.ndarray], normalization: Normalization, params: Params
) -> PairReader:
    acoustic = params.acoustic
    directions = (Direction("source", "target"),)
    speakers = Speakers(acoustic.conditioning, directions, normalization, acoustic.normalize_target)
    return PairReader(dataset, durations, speakers, acoustic.reduction)


# Measurements ------------------------------------------------------------------------------------------------------


class Spent(NamedTuple):
    """Time spent."""

    clock: float  # seconds
    processor: float  # seconds of all cores together, which depend little on how busy the machine is


def spent(work: Callable[[], object]) -> Spent:
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - clock, time.process_time() - processor)


class Contest:
    """Both trainings, before their first step."""

    def __init__(self, params: Params, reader: PairReader, train: list[Pair], held_out: list[Pair]) -> None:
        self.params, self.held_out = params.acoustic, reader.batch(held_out[: params.acoustic.training.batch_size])
        torch.manual_seed(params.seed)
        self.koe = AcousticTask(NARS2S(params.acoustic, params.mel.n_mels), params.acoustic, reader, train,
                                held_out, params.seed, torch.device("cpu"))
        torch.manual_seed(params.seed)
        self.plain = PlainTrainer(PlainNARS2S(params.acoustic, params.mel.n_mels), params.acoustic)

    def batch(self, step: int) -> Batch:
        """The batch of step `step`, counted from 1."""
        return read_batch(self.koe, step)

    def step(self, step: int) -> tuple[Spent, Spent]:
        """A step of each on the same batch at the same rate. Returns the time of koe and of plain."""
        batch = self.batch(step)
        ours = spent(lambda: self.koe.step(step, [batch]))
        return ours, spent(lambda: self.plain.step(batch, self.koe.learning_rate(step)))

    @torch.no_grad()
    def losses(self) -> tuple[float, float]:
        """Koe's and plain's weighted loss on the held-out batch, teacher-forced, in float32."""
        totals = []
        for network in (self.koe.network, self.plain.network):
            network.eval()
            output = network(self.held_out.source, self.held_out.durations, self.held_out.prosody)
            losses = acoustic_losses(output, self.held_out, self.params.loss)
            totals.append(float(weighted_sum(losses, self.params.loss.weights)))
        return totals[0], totals[1]


def read_batch(task: AcousticTask, step: int) -> Batch:
    """The only batch of step `step`, counted from 1, not split into parts."""
    [items] = task.batching.batches_at(step - 1)
    return task.reader.batch([task.train[item] for item in items]).to(task.device)


def measure_steps(contest: Contest, rounds: int) -> Iterator[str]:
    """The median times of a training step."""
    millions = [sum(parameter.numel() for parameter in network.parameters()) / 1e6
                for network in (contest.koe.network, contest.plain.network)]
    if abs(millions[0] / millions[1] - 1) > 0.02:
        raise SystemExit(f"not the same model: {millions[0]:.2f} and {millions[1]:.2f} M parameters")
    batch = contest.batch(1)
    print(f"koe {millions[0]:.2f} M parameters, plain {millions[1]:.2f} M; a batch: {len(batch.durations)} pairs, "
          f"source steps {batch.source.steps.sum()}, target frames {batch.target_frames.sum()}")
    measured = np.array([contest.step(step) for step in range(1, WARM_STEPS + rounds + 1)])[WARM_STEPS:]
    for row, name in enumerate(Spent._fields):
        ours, plain = np.median(measured[:, :, row], axis=0)
        print(f"a training step, {name}: koe {ours:.3f} s, plain {plain:.3f} s, ratio {plain / ours:.2f}")
    yield f"ratio train_step {np.median(measured[:, 1, 0] / measured[:, 0, 0]):.2f}"


def compare_losses(contest: Contest, steps: int) -> Iterator[str]:
    """Trains both and compares their losses."""
    rows = []
    for step in range(1, steps + 1):
        contest.step(step)
        if step in LOOKS or step == steps:
            ours, plain = contest.losses()
            rows.append({"steps": step, "koe": ours, "plain": plain})
            print(f"held-out loss after {step} steps: koe {ours:.3f}, plain {plain:.3f}", flush=True)
    yield f"ratio loss_after_{steps} {rows[-1]['plain'] / rows[-1]['koe']:.3f}"


def measure_conversion(contest: Contest, pair: Pair, threads: int) -> None:
    """Real-time factor from source features to mel, at the target's own timing."""
    reader, network, frames = contest.koe.reader, contest.koe.network, contest.koe.reader.dataset.frames(pair.target)
    length = frames * reader.dataset.mel_params.hop_length / reader.dataset.mel_params.sample_rate

    def convert() -> None:
        convert_items(network, [reader.source(pair)], contest.params.normalize_target, 1, torch.device("cpu"),
                      [reader.durations[pair.name]], [frames])

    for count in sorted({1, threads}):
        torch.set_num_threads(count)
        convert()
        taken = float(np.median([spent(convert).clock for _ in range(7)]))
        print(f"conversion of {length:.1f} s, {count} thread{'s'[: count - 1]}: {taken:.3f} s, "
              f"{length / taken:.0f} times real time")
    torch.set_num_threads(threads)


GROUPS = (  # the first whose word is in the kernel's name
    ("optimizer", ("adam", "_foreach", "linalg_vector_norm")),
    ("convolution", ("convolution", "conv_")),
    ("attention, fused", ("attention",)),
    ("softmax", ("softmax",)),
    ("matrix products", ("mm", "matmul", "linear", "dot")),
    ("norms", ("norm",)),
    ("random numbers", ("random", "bernoulli", "uniform", "dropout")),
    ("casts and copies", ("copy", "_to", "clone", "contiguous", "cat", "fill", "zero", "pad", "gather", "index")),
    ("sums", ("sum", "mean")),
)


def profile_step(contest: Contest) -> None:
    """Prints where our training step spends its time, by group of kernels, and its longest kernels."""
    task = contest.koe
    batches = [contest.batch(step) for step in range(1, 4)]
    for step, batch in enumerate(batches, 1):
        task.step(step, [batch])
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for step, batch in enumerate(batches, 1):
            task.step(step, [batch])
    groups: dict[str, float] = defaultdict(float)
    kernels: dict[str, float] = {}
    for event in profile.key_averages():
        name = event.key.lower()
        milliseconds = event.self_cpu_time_total / 1000 / len(batches)
        group = next((group for group, words in GROUPS if any(word in name for word in words)), "element by element")
        groups[group] += milliseconds
        kernels[event.key] = milliseconds
    for title, table in (("milliseconds a step by group", groups), ("the longest kernels", kernels)):
        column = pd.Series(table).sort_values(ascending=False)[:14]
        print(f"{title}:\n{pd.DataFrame({'ms': column, 'share': column / sum(kernels.values())}).round(3).to_string()}")


def measure_gpu(folder: Path, preset: Literal["paper", "large"]) -> Iterator[str]:
    """Mel frames a second of a compiled training step in bfloat16, with batches that are already on the GPU."""
    params = preset_params(preset, WARM_STEPS + GPU_STEPS, GPU_UTTERANCES, "bfloat16", compiled=True)
    reader, train, held_out = synthetic_speech(folder, params)
    torch.manual_seed(params.seed)
    task = AcousticTask(NARS2S(params.acoustic, params.mel.n_mels), params.acoustic, reader, train, held_out,
                        params.seed, torch.device("cuda"))
    batches = [read_batch(task, step) for step in (1, 2)]
    for step in range(1, WARM_STEPS + 1):
        task.step(step, [batches[step % 2]])
    torch.cuda.synchronize()
    start = time.perf_counter()
    for step in range(WARM_STEPS + 1, WARM_STEPS + GPU_STEPS + 1):
        task.step(step, [batches[step % 2]])
    torch.cuda.synchronize()
    taken = (time.perf_counter() - start) / GPU_STEPS
    frames = float(np.mean([float(batch.target_frames.sum()) for batch in batches]))
    print(f"{preset} on {torch.cuda.get_device_name()}: {taken * 1000:.1f} ms a step of {GPU_UTTERANCES} pairs, "
          f"{frames / taken:,.0f} target frames/s, {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    yield f"ratio gpu_{preset} {frames / taken / FASTPITCH_FRAMES:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12, help="training steps measured (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of the processor (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=0, help="also train both for this many steps, and compare losses; "
                        "200 take 10 to 20 minutes")
    parser.add_argument("--pairs", type=int, default=16, help="in a batch of that comparison (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="train on a project's data folder (one source, one target)")
    parser.add_argument("--profile", action="store_true", help="also show where a training step spends its time")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ratios: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        params = preset_params("log", WARM_STEPS + options.rounds, 16, "auto", compiled=False)
        synthetic = synthetic_speech(Path(folder) / "log", params)
        contest = Contest(params, *synthetic)
        ratios += measure_steps(contest, options.rounds)
        measure_conversion(contest, synthetic[2][-1], options.threads)
        if options.profile:
            profile_step(contest)
        if options.steps:
            speech = real_speech(options.data, params) if options.data else synthetic
            compared = preset_params("log", options.steps, options.pairs, "auto", compiled=False)
            ratios += compare_losses(Contest(compared, *speech), options.steps)
        if resolve_device().type == "cuda":
            for preset in ("paper", "large"):
                ratios += measure_gpu(Path(folder) / preset, preset)
        else:
            print("no GPU: frames a second at the sizes of paper and large were not measured")
    print("\n".join(ratios))


if __name__ == "__main__":
    main()
