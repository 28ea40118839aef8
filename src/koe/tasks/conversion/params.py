"""Parameters of the acoustic model, its training and its start."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from koe.nn.params import ConformerParams, PostnetParams, PredictorParams
from koe.params.section import Section
from koe.params.types import Dropout, Factor, OddKernel, Positive, Share, Weight
from koe.training.params import OptimizerParams, ScheduleParams, names_checkpoint, warmup_contradictions


class ConditioningParams(Section):
    by: Literal["none", "learned", "encoder"]
    level: Literal["speaker", "utterance"]
    size: Positive

    def contradictions(self, name: str) -> Iterator[str]:
        if self.level == "utterance" and self.by != "encoder":
            yield (f"{name}.level: utterance goes with by: encoder; with by: {self.by} the model has no input that "
                   "depends on the utterance")


class ReductionParams(Section):
    """Conversion of frames to steps and back; see `koe.tasks.conversion.reduction`."""

    by: Literal["reshape", "mean", "slice"]
    factor: Factor
    loss: Literal["frames", "steps"]
    prosody_by: Literal["mean", "slice"]
    prosody_factor: Factor | None

    def contradictions(self, name: str) -> Iterator[str]:
        larger, smaller = sorted((self.factor, self.prosody_factor or self.factor), reverse=True)
        if larger % smaller:
            yield (f"{name}.prosody_factor: {self.prosody_factor} is neither a multiple nor a divisor of "
                   f"{name}.factor ({self.factor})")
        if self.by == "reshape" and self.loss == "steps":
            yield f"{name}.loss: steps goes with by: mean or slice; reshape keeps every frame, so frames"


class TeacherForcingParams(Section):
    """Share of a batch that is trained on the target's prosody: `start` until `from_step`, `end` from `until_step`."""

    start: Share
    end: Share
    from_step: Annotated[int, Field(ge=0)]
    until_step: Annotated[int, Field(ge=0)]

    def contradictions(self, name: str) -> Iterator[str]:
        if self.until_step < self.from_step:
            yield f"{name}.until_step: {self.until_step} is before {name}.from_step ({self.from_step})"


class ProsodyEmbeddingParams(Section):
    kernel: OddKernel
    dropout: Dropout


class MelLossParams(Section):
    """Weights of the mel's distances, which are added; see `koe.tasks.conversion.losses`."""

    l1: Weight
    l2: Weight
    huber: Weight
    ssim: Weight

    def contradictions(self, name: str) -> Iterator[str]:
        if not any(self.model_dump().values()):
            yield f"{name}: all weights are 0; at least one distance must count"


class AcousticLossWeights(Section):
    mel: Weight
    postnet: Weight
    duration: Weight
    pitch: Weight
    energy: Weight


class AcousticLossParams(Section):
    mel: MelLossParams
    duration: Literal["guided", "plain", "log"]
    weights: AcousticLossWeights


class AcousticTraining(Section):
    steps: Positive | None
    epochs: Positive | None
    batch_size: Positive | None
    batch_frames: Positive | None
    accumulate: Positive
    replicas: Positive
    shift: bool
    optimizer: OptimizerParams
    schedule: ScheduleParams
    gradient_clip: Annotated[float, Field(gt=0)] | None
    gradient_limit: Annotated[float, Field(gt=0)] | None
    ema: Annotated[float, Field(ge=0, lt=1)] | None
    average_best: Positive | None
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    compile: bool
    early_stopping: Positive | None
    log_every: Positive
    validate_every: Positive
    validation_pairs: Positive
    pictures: Annotated[int, Field(ge=0)]
    tensorboard: bool
    checkpoint_every: Positive
    keep_every: Positive | None
    keep_best: bool

    def contradictions(self, name: str) -> Iterator[str]:
        for one, other in (("steps", "epochs"), ("batch_size", "batch_frames")):
            if (getattr(self, one) is None) == (getattr(self, other) is None):
                yield f"{name}.{one}, {name}.{other}: set exactly one of them, the other to null"


class InitParams(Section):
    """Start of a training run (lessons 14, 19, 21, 27); without `from` the rest has no effect."""

    origin: str | None = Field(alias="from")
    keep_optimizer: bool
    keep_schedule: bool
    lr_scale: Annotated[float, Field(gt=0)]
    strict: bool
    statistics: Literal["theirs", "own"]
    freeze: list[str]

    def contradictions(self, name: str) -> Iterator[str]:
        if self.origin is None:
            if self.freeze:
                yield (f"{name}.freeze: without {name}.from weights are random, and would stay random; name a model "
                       "to start from")
            return
        if self.keep_optimizer and not self.strict:
            yield f"{name}.keep_optimizer: an optimizer goes with all of its weights, so with {name}.strict: true"
        for part in ("keep_optimizer", "keep_schedule"):
            if getattr(self, part) and not names_checkpoint(self.origin):
                yield (f"{name}.{part}: only kept checkpoints hold the state that a training run continues with; "
                       f"set {name}.from: {self.origin}@<step> or {self.origin}@best")


class AcousticParams(Section):
    model: Literal["nars2s"]
    conditioning: ConditioningParams
    reduction: ReductionParams
    normalize_target: bool
    teacher_forcing: TeacherForcingParams
    encoder: ConformerParams
    decoder: ConformerParams
    duration: PredictorParams
    pitch: PredictorParams
    energy: PredictorParams
    prosody_embedding: ProsodyEmbeddingParams
    postnet: PostnetParams
    loss: AcousticLossParams
    training: AcousticTraining
    init: InitParams

    def contradictions(self, name: str) -> Iterator[str]:
        norms = {"encoder": self.encoder.norm, "decoder": self.decoder.norm, "postnet": self.postnet.norm}
        if "batch" in norms.values() and self.training.replicas > 1:
            yield (f"{name}.training.replicas: {self.training.replicas} parts of a batch in parallel, but batch norms "
                   f"({', '.join(part for part, norm in norms.items() if norm == 'batch')}) need the whole batch; set "
                   "it to 1, or norm to layer")
        steps = None if self.init.origin is not None and self.init.keep_schedule else self.training.steps
        yield from warmup_contradictions(self.training.schedule, steps, f"{name}.training")


NETWORK = ("encoder", "decoder", "duration", "pitch", "energy", "prosody_embedding", "postnet")  # sections of its parts
TRAINED_BY = ("dropout", "inner_dropout", "attention_dropout", "stop_gradient")  # in these, and of no tensor's meaning


def shaping_parameters(name: str) -> Iterator[str]:
    """Parameters and sections of the section `name` that decide the network's tensors, or what their numbers mean."""
    yield from (f"{name}.{part}" for part in (
        "model", "conditioning.size", "reduction", "normalize_target", "loss.duration"))
    for part in NETWORK:
        section: type[Section] = AcousticParams.__annotations__[part]
        yield from (f"{name}.{part}.{field}" for field in section.model_fields if field not in TRAINED_BY)
