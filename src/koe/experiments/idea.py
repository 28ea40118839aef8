"""The idea of an experiment at the size of another: what a run of the log does differently, on the demo's corpora.

An experiment that builds on a preset (`log`) is made of two things: what the preset says, and what it does differently.
That is its idea: the parameters in which it differs from the first of its bases or, where it has none, from
params.yaml. On another experiment it comes on top of that one's parameters, but for

 - what the recordings decide: corpora that the other one has not, how many sentences are held out, the language;
 - sizes and steps: how long is trained, in what batches, and what counts steps;
 - models to start from, which were trained on other recordings. A model that no longer fits is not started from.

What is chosen by name (`<section>.model`, `<section>.training.schedule.name`) comes along with the settings of what it
chooses, also where it is the preset's: they mean nothing without. Which parameters are which, the pipeline declares
(`koe.pipeline.declaration.Idea`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from koe.errors import KoeError
from koe.experiments.named import ABSENT, Difference, Experiment, compose, differences
from koe.pipeline.declaration import Idea, filled


def on(
    experiment: Experiment, other: Experiment, values: Mapping[str, Any], rules: Idea
) -> tuple[Experiment, list[Difference]]:
    """The idea of an experiment as an experiment that is based on another, and what of the idea stays behind.

    `values`: the tree of params.yaml. `rules`: the pipeline's. Raises KoeError if nothing that the other
    one does not do anyway is left.
    """
    first, *further = experiment.lineage
    own, target = compose(values, experiment), compose(values, other)
    idea = list(differences(compose(values, first) if further else values, own))
    behind = [difference for difference in idea
              if _stays_behind(difference.parameter, difference.after, own, target, rules)]
    said = {difference.parameter: difference.after for difference in idea if difference not in behind}
    said |= dict(_choices(said, own, rules.choosers))
    taken = {parameter: value for parameter, value in said.items() if value != _at(target, parameter)}
    taken |= dict.fromkeys(_unfit_starts(taken, own, rules))
    if not taken:
        left = ", ".join(map(str, behind)) or "it says nothing else"
        raise KoeError(f"{experiment.name}: nothing of it can be taken over to {other.name} ({left})")
    return Experiment(name=f"{experiment.name}-on-{other.run_name}", purpose=experiment.purpose, base=other,
                      parameters=taken), behind


def _stays_behind(
    parameter: str, value: Any, own: Mapping[str, Any], target: Mapping[str, Any], rules: Idea
) -> bool:
    sections = parameter.split(".")
    if sections[0] == "corpora":
        return value is ABSENT or sections[1] not in target["corpora"]
    if sections[1:2] == ["init"]:
        return own[sections[0]]["init"]["from"] is not None
    return sections[-1] in rules.sizes or any(is_in(parameter, name) for name in rules.of_recordings)


def _choices(
    parameters: Iterable[str], own: Mapping[str, Any], choosers: Collection[str]
) -> Iterator[tuple[str, Any]]:
    """What is chosen by name in the sections of these parameters."""
    for parameter in parameters:
        sections = parameter.split(".")[:-1]
        for depth in range(1, len(sections) + 1):
            path = ".".join(sections[:depth])
            yield from ((f"{path}.{name}", value) for name, value in _at(own, path).items() if name in choosers)


def _at(tree: Mapping[str, Any], parameter: str) -> Any:
    for part in parameter.split("."):
        tree = tree.get(part, ABSENT) if isinstance(tree, Mapping) else ABSENT
    return tree


def _unfit_starts(taken: Iterable[str], own: Mapping[str, Any], rules: Idea) -> Iterator[str]:
    """Parameters that name a model to start from which does not fit what was changed."""
    for start, sections in rules.starts.items():
        if any(is_in(parameter, filled(section, own)) for parameter in taken for section in sections):
            yield start


def is_in(parameter: str, section: str) -> bool:
    """Whether a parameter is this one, or lies in this section."""
    return f"{parameter}.".startswith(f"{section}.")
