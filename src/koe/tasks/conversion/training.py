"""Training the acoustic model: resumable, deterministic on the CPU, validated as conversion works.

Called by the `train_acoustic` stage. A step's batches, learning rate and teacher forcing are functions of the seed and
the step, and everything else that decides a step is in the checkpoint, so a run that was killed and continued ends
with the same weights and curves as one that never was.
"""

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from koe.device import compiled, mixed_precision, resolve_precision
from koe.errors import KoeError
from koe.names import Pair
from koe.nn.layers import drawing_from
from koe.randomness import numpy_generator, seed_for, torch_generator
from koe.steps import batch_steps
from koe.tasks.conversion.data import Batch, PairReader
from koe.tasks.conversion.losses import PARTS, acoustic_losses, weighted_sum
from koe.tasks.conversion.nars2s import NARS2S
from koe.tasks.conversion.params import AcousticParams
from koe.tasks.conversion.teacher_forcing import teacher_forced_share
from koe.tasks.conversion.validation import JUDGED_BY, convert_pairs, validate
from koe.training.averaging import BestWeights, averaged_copy, update_average
from koe.training.batching import Batching
from koe.training.checkpoint import Stateful
from koe.training.failures import is_out_of_memory, listed
from koe.training.means import RunningMeans
from koe.training.optimizers import make_optimizer, take_optimizer_state
from koe.training.pictures import mel_picture
from koe.training.replicas import add_gradients, replicas
from koe.training.schedules import rate
from koe.training.session import Session, steps_with_progress


@dataclass
class AcousticTrainer:
    """One training run over `train`, watched on `validation`; `model` is its result.

    `optimizer_state`: of the run whose weights `network` has, to go on with its moments (`init.keep_optimizer`);
    `steps_before`: where its schedule goes on (`init.keep_schedule`).
    """

    network: NARS2S
    params: AcousticParams
    reader: PairReader
    train: list[Pair]
    validation: list[Pair]
    seed: int
    device: torch.device
    optimizer_state: dict[str, Any] | None = None
    steps_before: int = 0
    steps_done: int = field(default=0, init=False)
    _pool: Executor | None = field(default=None, init=False)  # while `run` runs, if it has replicas

    def __post_init__(self) -> None:
        training = self.params.training
        self.network.to(self.device)
        self.precision = resolve_precision(training.precision, self.device, "acoustic.training.precision")
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "float16")
        self.optimizer = make_optimizer(self.network, training.optimizer)
        if self.optimizer_state is not None:
            take_optimizer_state(self.optimizer, self.optimizer_state, "acoustic.init.keep_optimizer", "false")
        self.batching = Batching(
            tuple(self.reader.dataset.frames(pair.target) for pair in self.train), training.batch_size, self.seed,
            training.batch_frames, batch_steps(1) * self.params.reduction.factor, training.accumulate,
        )
        warmup = training.schedule.warmup_steps
        if warmup >= self.steps_before + self.total_steps:
            raise KoeError(f"acoustic.training.schedule.warmup_steps: {warmup}, and acoustic.training.epochs "
                           f"({training.epochs}) are only {self.total_steps} steps; lower it, or train longer")
        self.means = RunningMeans()
        self.average = None if training.ema is None else averaged_copy(self.network)
        self.best = None if training.average_best is None else BestWeights(training.average_best)
        self._forward: Callable[..., Any] = (
            compiled(self.network, self.device, "acoustic.training.compile") if training.compile else self.network)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of a run that is not stopped early."""
        training = self.params.training
        return training.steps or (training.epochs or 0) * self.batching.steps_per_epoch

    @property
    def replicas(self) -> int:
        """Parts of a batch that are computed at once. GPUs and compiled networks take it whole."""
        training = self.params.training
        return 1 if training.compile or self.device.type != "cpu" else training.replicas

    @property
    def watched(self) -> NARS2S:
        """The network as it is validated: the moving average of its weights, if there is one."""
        return self.network if self.average is None else self.average

    @property
    def model(self) -> NARS2S:
        """The network that is the result."""
        if self.best is None:
            return self.watched
        model = copy.deepcopy(self.watched)
        model.load_state_dict(self.best.mean())
        return model

    @property
    def kept(self) -> dict[str, Stateful]:
        """What other runs can start from."""
        kept: dict[str, Stateful] = {"network": self.network, "optimizer": self.optimizer}
        return kept if self.average is None else {**kept, "ema": self.average}

    @property
    def objects(self) -> dict[str, Stateful]:
        """What a checkpoint holds."""
        objects: dict[str, Stateful] = {**self.kept, "means": self.means}
        if self.best is not None:
            objects["best"] = self.best
        if self.scaler.is_enabled():
            objects["scaler"] = self.scaler
        return objects

    def run(self, session: Session) -> dict[str, float]:
        """Trains to the end and returns the last validation's values, and those of the mean of the best, if asked."""
        training = self.params.training
        torch.manual_seed(seed_for(self.seed, "acoustic training"))  # GPUs' dropout; a checkpoint brings its state
        padding = self.batching.padding_ratio
        print(f"{session.name}: {self.batching.batches_per_epoch} batches an epoch, their frames {padding:.1%} padding")
        session.note({"padding_ratio": padding})
        first, latest = session.resume(), {}
        counted = steps_with_progress(session.name, first, self.total_steps)
        with replicas(self.replicas) as self._pool:
            for (step, bar), batches in zip(counted, self._batches(first), strict=True):
                self.means.add(self._step(step, batches))
                last = step == self.total_steps
                if step % training.log_every == 0 or last:
                    means = {f"train/{name}": value for name, value in self.means.take().items()}
                    session.log(step, {**means, "learning_rate": self.rate(step - 1)})
                    bar.set_postfix({part: f"{means[f'train/{part}']:.3f}" for part in ("postnet", "pitch")})
                if step % training.validate_every == 0 or last:
                    latest = self._watch(session, step)
                    last = last or self._has_stopped_improving(session)
                if training.keep_every and step % training.keep_every == 0:
                    session.keep(f"{step:08d}", self.steps_before + step, self.kept)
                self.steps_done = step
                if last:
                    break
                if step % training.checkpoint_every == 0:
                    session.save(step)
        return {**latest, **self._judge_mean_of_best(session, step)}

    def _batches(self, first: int) -> Iterator[list[Batch]]:
        """Batches of steps first + 1 up to the last, one step's read ahead while the model works.

        With replicas each of them is dealt out to several, which are then of like lengths.
        """
        def read(step: int) -> list[Batch]:
            parts = [batch[replica :: self.replicas] for batch in self.batching.batches_at(step)
                     for replica in range(min(self.replicas, len(batch)))]
            return [self._read(step, place, part).to(self.device) for place, part in enumerate(parts)]

        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(read, first)
            for step in range(first, self.total_steps):
                with self._explaining(lambda: self._sizes(step + 1)):  # noqa: B023, called before the next step
                    batches = ahead.result()
                if step + 1 < self.total_steps:
                    ahead = pool.submit(read, step + 1)
                yield batches

    def _read(self, step: int, place: int, indices: list[int]) -> Batch:
        """The batch, or part of one, at `place` in step `step`, from 0. With `training.shift` utterances begin at a
        random frame of their first step, so that the same sounds are seen in every position in a step.
        """
        pairs, starts = [self.train[index] for index in indices], None
        if self.params.training.shift:
            generator = numpy_generator(self.seed, "shift", step, place)
            starts = generator.integers(0, self.params.reduction.factor, (len(pairs), 2))
        return self.reader.batch(pairs, starts)

    def rate(self, step: int) -> float:
        """Learning rate of optimizer step `step`, from 0."""
        scale = 1.0 if self.params.init.origin is None else self.params.init.lr_scale
        place, total = self.steps_before + step, self.steps_before + self.total_steps
        return scale * rate(self.params.training.schedule, place, self.batching.epoch_of(place), total,
                            self.params.encoder.hidden)

    def _step(self, step: int, batches: list[Batch]) -> dict[str, float]:
        """One optimizer step; `step` counts from 1. Returns the parts' losses and the gradient's norm.

        A batch counts by its share of all target frames: what is a mean over target frames is then exactly that of
        one larger batch, with its gradient; durations, means over source steps, are nearly so. Dropout and teacher
        forcing are drawn batch by batch.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step - 1)
        self.network.train()
        frames = torch.stack([batch.target_frames.sum() for batch in batches])
        shares = frames / frames.sum()

        def weighted(place: int) -> tuple[Tensor, Tensor]:
            parts, share = self._losses(step, place, batches[place]), shares[place]
            loss = self.scaler.scale(weighted_sum(parts, self.params.loss.weights) * share)
            return loss, share * torch.stack([parts[part].detach() for part in PARTS])

        with self._explaining(lambda: self._sizes(step)):
            jobs = [partial(weighted, place) for place in range(len(batches))]
            losses = torch.stack(add_gradients(list(self.network.parameters()), jobs, self._pool)).sum(dim=0)
            self.scaler.unscale_(self.optimizer)
            limit = self.params.training.gradient_clip or float("inf")
            norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), limit)
            *means, length = torch.stack([*losses, norm]).tolist()  # the only wait for the GPU
            values = dict(zip(PARTS, means, strict=True))
            gradient = self._checked(step, values, length)
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.average is not None:
            update_average(self.average, self.network, self.params.training.ema or 0.0, step - 1)
        return {**values, **gradient}

    def _losses(self, step: int, place: int, batch: Batch) -> dict[str, Tensor]:
        """The parts' losses on the batch at `place` in the step, some or all of its utterances teacher-forced."""
        share = teacher_forced_share(self.params.teacher_forcing, self.steps_before + step - 1)
        drawn = numpy_generator(self.seed, "teacher forcing", step, place).random(len(batch.durations)) < share
        prosody = batch.prosody if drawn.any() else None
        forced = None if drawn.all() else torch.from_numpy(drawn).to(self.device)
        generator = torch_generator(self.seed, "dropout", step, place)
        with mixed_precision(self.precision, self.device), drawing_from(generator):
            output = self._forward(batch.source, batch.durations, prosody, forced)
        return acoustic_losses(output, batch, self.params.loss)

    def _checked(self, step: int, losses: dict[str, float], norm: float) -> dict[str, float]:
        """The gradient's norm, by name. Raises KoeError if it or a loss is no number, or it is above its limit."""
        finite = np.isfinite([*losses.values(), norm])
        if self.scaler.is_enabled() and finite[:-1].all() and not finite[-1] and self.scaler.get_scale() >= 1:
            return {}  # float16: the scale of the losses was too high; this step is left out and the scale lowered
        told = f"{self._sizes(step)}; losses: {listed(losses)}; gradient norm {norm:g}"
        if not finite.all():
            lower = "gradient_clip" if self.params.training.gradient_clip else "gradient_clip (now null: set it)"
            raise KoeError(f"acoustic training diverged: losses or gradients are not finite {told}. Lower "
                           f"acoustic.training.schedule.learning_rate or acoustic.training.{lower}")
        limit = self.params.training.gradient_limit
        if limit is not None and norm > limit:
            raise KoeError(f"acoustic training diverged: the gradient is above acoustic.training.gradient_limit "
                           f"({limit:g}) {told}. Lower acoustic.training.schedule.learning_rate, or raise the limit")
        return {"gradient_norm": norm}

    def _sizes(self, step: int) -> str:
        """What a step (from 1) trains on, for messages."""
        frames, told = self.reader.dataset.frames, []
        for batch in self.batching.batches_at(step - 1):
            pairs = [self.train[index] for index in batch]
            source, target = max(frames(pair.source) for pair in pairs), max(frames(pair.target) for pair in pairs)
            padded = [-(-longest // self.batching.multiple) * self.batching.multiple for longest in (source, target)]
            told.append(f"{len(pairs)} pairs, source up to {source} frames (padded: {padded[0]}), target up to "
                        f"{target} (padded: {padded[1]}): {', '.join(pair.name for pair in pairs)}")
        return f"at step {step}, batch of " + "; and of ".join(told)

    @contextmanager
    def _explaining(self, sizes: Callable[[], str], lower: str = "") -> Iterator[None]:
        """Makes a KoeError of an error that says that memory does not suffice; without `lower`, batches are to be."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            given = "batch_frames" if self.params.training.batch_size is None else "batch_size"
            batches = (f"acoustic.training.{given} ({getattr(self.params.training, given)}), raising "
                       "acoustic.training.accumulate instead; if a single pair is too long, resample.max_seconds")
            raise KoeError(f"acoustic training is out of memory {sizes()}. Lower {lower or batches} "
                           f"({str(error).partition(chr(10))[0]})") from error

    def _watch(self, session: Session, step: int) -> dict[str, float]:
        """Validates: curves, pictures, and keeps what is best."""
        with self._explaining(lambda: f"at step {step}, in validation", "resample.max_seconds"):
            values = self.validate()
            session.log(step, {**values, **self._gaps(session, values)})
            shown = self.validation[: self.params.training.pictures]
            mels = convert_pairs(self.watched, self.reader, shown, self.params, self.device)
            for mel, pair in zip(mels, shown, strict=True):
                session.show(step, pair.name.replace("/", "_"), mel_picture(mel, self.reader.dataset.mel(pair.target)))
        if self.best is not None:
            self.best.offer(values[JUDGED_BY], self.watched)
        judged = session.series(JUDGED_BY)
        if self.params.training.keep_best and judged.index(min(judged)) == len(judged) - 1:
            session.keep("best", self.steps_before + step, self.kept)
        return values

    def _has_stopped_improving(self, session: Session) -> bool:
        judged, patience = session.series(JUDGED_BY), self.params.training.early_stopping
        return patience is not None and len(judged) - 1 - judged.index(min(judged)) >= patience

    def _judge_mean_of_best(self, session: Session, step: int) -> dict[str, float]:
        """Validation values of the mean of the best weights, under names of their own."""
        if self.best is None:
            return {}
        values = self.validate(self.model)
        found = {f"average_best/{name.removeprefix('validation/')}": value for name, value in values.items()
                 if name.startswith("validation/")}
        session.log(step, found)
        return found

    def validate(self, network: NARS2S | None = None) -> dict[str, float]:
        """Values of `network`, or `watched`, on the validation pairs (koe.tasks.conversion.validation)."""
        return validate(network or self.watched, self.reader, self.validation, self.params, self.device)

    def _gaps(self, session: Session, validation: dict[str, float]) -> dict[str, float]:
        """Validation less training loss of each part: how far the model overfits (lesson 4)."""
        train = session.latest("train/")
        return {
            f"gap/{part}": validation[f"validation/{part}"] - train[f"train/{part}"]
            for part in PARTS if f"train/{part}" in train
        }
