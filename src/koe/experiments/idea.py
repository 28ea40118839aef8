"""The idea of an experiment at the size of another: what a run of the log does differently, on the demo's corpora.

An experiment that builds on a preset (`log`) is made of two things: what the preset says, and what it does differently.
That is its idea: the parameters in which it differs from the first of its bases or, where it has none, from
params.yaml. On another experiment it comes on top of that one's parameters, but for

 - what the recordings decide: corpora that the other one has not, how many sentences are held out, the language;
 - sizes and steps: how long is trained, in what batches, and what counts steps;
 - models to start from, which were trained on other recordings. A vocoder that no longer fits is not started from.

What is chosen by name (`vocoder.model`, `acoustic.reduction.by`, `acoustic.training.schedule.name`) comes along with
the settings of what it chooses, also where it is the preset's: they mean nothing without.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from koe.errors import KoeError
from koe.experiments.named import ABSENT, Difference, Experiment, compose, differences

SIZES = frozenset({
    "steps", "epochs", "batch_size", "batch_frames", "accumulate", "spectral_steps", "warmup_steps", "anneal_steps",
    "from_step", "until_step", "log_every", "validate_every", "checkpoint_every", "keep_every", "early_stopping",
    "validation_pairs", "precision", "compile",
})
OF_RECORDINGS = frozenset({
    "pair.across_corpora", "pair.train", "pair.validation", "pair.test", "evaluation.pairs",
    "evaluation.pairs_per_direction", "evaluation.wer", "vocoder.training.validation.utterances",
})
CHOICES = ("model", "method", "by", "name")


def on(experiment: Experiment, other: Experiment, values: Mapping[str, Any]) -> tuple[Experiment, list[Difference]]:
    """The idea of an experiment as an experiment that is based on another, and what of the idea stays behind.

    `values`: the tree of params.yaml. Raises KoeError if nothing that the other one does not do anyway is left.
    """
    first, *further = experiment.lineage
    own, target = compose(values, experiment), compose(values, other)
    idea = list(differences(compose(values, first) if further else values, own))
    behind = [difference for difference in idea if _stays_behind(difference.parameter, difference.after, own, target)]
    said = {difference.parameter: difference.after for difference in idea if difference not in behind}
    said |= dict(_choices(said, own))
    taken = {parameter: value for parameter, value in said.items() if value != _at(target, parameter)}
    if _changes_vocoder(taken, own):
        taken["vocoder.init.from"] = None
    if not taken:
        left = ", ".join(map(str, behind)) or "it says nothing else"
        raise KoeError(f"{experiment.name}: nothing of it can be taken over to {other.name} ({left})")
    return Experiment(name=f"{experiment.name}-on-{other.run_name}", purpose=experiment.purpose, base=other,
                      parameters=taken), behind


def _stays_behind(parameter: str, value: Any, own: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
    sections = parameter.split(".")
    if sections[0] == "corpora":
        return value is ABSENT or sections[1] not in target["corpora"]
    if sections[1:2] == ["init"]:
        return own[sections[0]]["init"]["from"] is not None
    return sections[-1] in SIZES or sections[0] == "report" or parameter in OF_RECORDINGS


def _choices(parameters: Iterable[str], own: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is chosen by name in the sections of these parameters."""
    for parameter in parameters:
        sections = parameter.split(".")[:-1]
        for depth in range(1, len(sections) + 1):
            path = ".".join(sections[:depth])
            yield from ((f"{path}.{name}", value) for name, value in _at(own, path).items() if name in CHOICES)


def _at(tree: Mapping[str, Any], parameter: str) -> Any:
    for part in parameter.split("."):
        tree = tree.get(part, ABSENT) if isinstance(tree, Mapping) else ABSENT
    return tree


def _changes_vocoder(taken: Iterable[str], own: Mapping[str, Any]) -> bool:
    """Whether mels or the generator are others, so that no vocoder trained for the usual ones can be started from."""
    kinds = ("mel.", "vocoder.model", f"vocoder.{own['vocoder']['model']}.")
    return any(parameter.startswith(kinds) for parameter in taken)
