"""The aligners that are trained: on warpings that are known, and what they write and read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.parameters import changed_params
from test_aligner import sounds, warp

from koe.align.aligner import Aligner, Side, align_pair, dtw_aligner
from koe.align.attention import AttentionTeacher, guided_attention_loss
from koe.align.forward_sum import IMPOSSIBLE
from koe.align.neural import (
    NETWORKS,
    NetworkParams,
    NeuralAligner,
    load_aligner,
    network_params,
    save_aligner,
)
from koe.align.params import AlignMethod, AlignParams
from koe.align.registry import aligner_of
from koe.align.run import train_aligner
from koe.align.steps import StepBatch, StepReader
from koe.align.training import AlignedPairs, AlignerTask, initial_network
from koe.audio.grid import mel_contract
from koe.corpus.dataset import Dataset
from koe.errors import KoeError
from koe.files import read_json
from koe.names import Pair
from koe.statistics import Moments
from koe.steps import steps_of
from koe.store import ShardWriter
from koe.tasks.conversion.schema import Params
from koe.training.loop import train
from koe.training.session import Session

FACTOR = 3
NAMES = [f"s{number}" for number in range(24)]


class Corpus:
    """Two speakers, the second with the first's sounds at another, known speed, and in another voice."""

    def __init__(self, folder: Path, params: Params) -> None:
        self.origins = {}
        mels: dict[str, list[np.ndarray]] = {"x": [], "y": []}
        with ShardWriter(folder / "features/demo", {"mel": mel_contract(params.mel)}) as writer:
            for number, name in enumerate(NAMES):
                source = sounds(150, seed=100 + number).astype(np.float32)
                target, self.origins[name] = warp(source, seed=200 + number)
                for speaker, mel in (("x", source), ("y", target)):
                    writer.add(f"demo/{speaker}/{name}", mel=mel)
                    mels[speaker].append(mel)
        self.dataset = Dataset(["demo"], params.mel, folder)
        self.pairs = [Pair(f"demo/{name}/x-y", f"demo/x/{name}", f"demo/y/{name}") for name in NAMES]
        self.reader = StepReader({f"demo/{speaker}": Moments.of(np.concatenate(found))
                                  for speaker, found in mels.items()}, FACTOR)

    def sides(self, name: str) -> tuple[Side, Side]:
        return tuple(Side(self.dataset.mel(f"demo/{speaker}/{name}"), f"demo/{speaker}") for speaker in "xy")

    def error(self, aligner: Aligner, params: Params) -> float:
        """Mean distance to the true place in pairs that training did not see, frames."""
        found = {name: align_pair(aligner, *self.sides(name), params.mel, params.align, FACTOR)
                 for name in NAMES[-4:]}
        return float(np.mean([np.abs(found[name].positions - self.origins[name]).mean() for name in found]))


@pytest.fixture()
def corpus(tmp_path: Path, params: Params) -> Corpus:
    return Corpus(tmp_path / "data", params)


def sizes(method: AlignMethod) -> NetworkParams:
    """The project's sizes of a method's network."""
    return network_params(method, changed_params({"align.method": method}).align)


def trained(corpus: Corpus, params: Params, folder: Path, method: AlignMethod, **training: float) -> NeuralAligner:
    section = sizes(method)
    section = section.model_copy(update={"training": section.training.model_copy(update={
        "batch_size": 5, "warmup_steps": 5, "validate_every": 1000, "log_every": 10, **training})})
    network = initial_network(method, section, params.mel.n_mels, FACTOR, seed=1)
    data = AlignedPairs(corpus.dataset, corpus.reader, corpus.pairs[:20], corpus.pairs[20:])
    task = AlignerTask(method, network, section.training, data, 1, torch.device("cpu"))
    session = Session(method, {}, folder / "curves", folder / "work")
    train(task, session)
    session.finish()
    return NeuralAligner(network.eval(), corpus.reader)


@pytest.mark.slow
@pytest.mark.parametrize("method, steps", [("learned", 120), ("attention", 400)])
def test_a_short_training_finds_a_known_warping(
    tmp_path: Path, corpus: Corpus, params: Params, method: AlignMethod, steps: int
) -> None:
    straight = np.mean([np.abs(np.linspace(0, 149, len(at)) - at).mean()
                        for at in (corpus.origins[name] for name in NAMES[-4:])])
    dtw = corpus.error(dtw_aligner(params.mel, params.align), params)
    found = corpus.error(trained(corpus, params, tmp_path, method, steps=steps), params)
    assert max(dtw, found) < FACTOR < straight  # within a step


@pytest.mark.parametrize("method", NETWORKS)
def test_what_was_trained_is_saved_and_aligns(
    tmp_path: Path, corpus: Corpus, params: Params, method: AlignMethod
) -> None:
    aligner = trained(corpus, params, tmp_path, method, steps=10, learning_rate=1e-3)
    save_aligner(tmp_path / "models" / method, method, aligner.network, aligner.reader, params.mel, {})
    assert (tmp_path / "curves/plots/metrics/validation/focus.tsv").exists()
    align = params.align.model_copy(update={"method": method, method: aligner.network.params})
    loaded = aligner_of(method, params.mel, align, FACTOR, tmp_path / "models")
    source, target = corpus.sides("s0")
    alignment = align_pair(loaded, source, target, params.mel, align, FACTOR)
    assert alignment.durations.sum() == steps_of(len(target.mel), FACTOR)
    assert 1 / 50 < alignment.diagnostics.focus <= 1
    np.testing.assert_array_equal(loaded(source, target).positions, aligner(source, target).positions)
    with pytest.raises(KoeError, match="trained with other parameters; run dvc repro train_aligner"):
        load_aligner(tmp_path / "models" / method, aligner.network.params, params.mel, 2)
    with pytest.raises(KoeError, match="no statistics of speaker demo/z, only of demo/x, demo/y"):
        loaded(source, Side(target.mel, "demo/z"))


def test_divergence_names_the_pairs_and_the_methods_own_parameters(
    tmp_path: Path, corpus: Corpus, params: Params
) -> None:
    with pytest.raises(KoeError, match=r"aligner training diverged: .* at step 2, batch of 5: demo/s\d+/x-y.* nan.*"
                                       r"Lower align\.learned\.training\.learning_rate or .*gradient_clip$"):
        trained(corpus, params, tmp_path, "learned", steps=10, learning_rate=1e30)


def test_lesson_01_a_run_leaves_an_aligner_that_says_what_made_it(
    tmp_path: Path, corpus: Corpus, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOE_WORK", str(tmp_path / "work"))
    section = sizes("learned")
    section = section.model_copy(update={"training": section.training.model_copy(update={
        "steps": 2, "warmup_steps": 1, "batch_size": 5})})
    data = AlignedPairs(corpus.dataset, corpus.reader, corpus.pairs[:20], corpus.pairs[20:])
    train_aligner("learned", section, params.mel, data, 1, "the data", "the code", "abc", tmp_path / "curves",
                  tmp_path / "aligner")
    provenance = read_json(tmp_path / "aligner/model.json")["provenance"]
    assert provenance == {"seed": 1, "method": "learned", "params": section.model_dump(mode="json"), "factor": FACTOR,
                          "inputs": "the data", "code": "the code", "revision": "abc"}
    assert load_aligner(tmp_path / "aligner", section, params.mel, FACTOR).network.params == section


@pytest.mark.parametrize("method", NETWORKS)
def test_padding_changes_no_alignment(corpus: Corpus, method: AlignMethod) -> None:
    network = initial_network(method, sizes(method), 80, FACTOR, seed=0).eval()
    source, target = corpus.sides("s0")
    whole = Side(source.mel[: 16 * FACTOR], "demo/x"), Side(target.mel[: 16 * FACTOR], "demo/y")
    with torch.no_grad():
        alone = network(corpus.reader.batch([whole]))[0]
        beside = network(corpus.reader.batch([whole, corpus.sides("s1")]))[0, :16, :16]
    assert alone.shape == (16, 16)  # a batch of 16 steps has no padding
    torch.testing.assert_close(alone, beside, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(alone.exp().sum(1), torch.ones(16))


def test_the_teacher_does_not_see_the_step_it_predicts(corpus: Corpus) -> None:
    teacher = AttentionTeacher(sizes("attention"), 80 * FACTOR).eval()
    batch = corpus.reader.batch([corpus.sides("s0")])
    changed = StepBatch(batch.source, batch.target.clone(), batch.source_steps, batch.target_steps, batch.prior)
    changed.target[:, 20:] += 1
    with torch.no_grad():
        (before, looked), (after, looked_after) = teacher.predict(batch), teacher.predict(changed)
    torch.testing.assert_close(before[:, :21], after[:, :21])
    torch.testing.assert_close(looked[:, :21], looked_after[:, :21])
    assert not torch.allclose(before[:, 21], after[:, 21])


def test_the_guided_loss_prices_what_is_off_the_slope(corpus: Corpus) -> None:
    source = Side(np.zeros((20 * FACTOR, 80), np.float32), "demo/x")
    batch = corpus.reader.batch([(source, Side(np.zeros((10 * FACTOR, 80), np.float32), "demo/y"))])
    weights = torch.zeros_like(batch.prior)
    weights[0, torch.arange(10), 2 * torch.arange(10)] = 1  # the target is twice as fast
    assert guided_attention_loss(weights, batch, 0.2) == 0
    away = torch.zeros_like(weights)
    away[0, torch.arange(10), (2 * torch.arange(10) + 10) % 20] = 1  # half the length off
    assert guided_attention_loss(away, batch, 0.2).item() == pytest.approx(1 - np.exp(-(0.5**2) / (2 * 0.2**2)))
    padded = torch.where(batch.prior == IMPOSSIBLE, 1.0, weights)
    assert guided_attention_loss(padded, batch, 0.2) == 0


def test_every_method_that_the_parameters_allow_exists() -> None:
    assert set(AlignParams.model_fields["method"].annotation.__args__) == {"dtw", *NETWORKS}
