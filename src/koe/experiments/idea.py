"""The idea of one experiment at the size of another (`koe exp run --on`), such as a big run's on the demo's corpora.

The idea of an experiment is the set of parameters in which it differs from the preset on which it is based (the first
of its bases) or, without a base, from params.yaml. On another experiment, these parameters override that one's, except

 - what depends on the recordings: corpora that the other one does not have, the number of held-out sentences, language;
 - sizes and steps: duration of training, batches, and everything that counts steps;
 - models to start from, which were trained on other recordings. A model that no longer fits is not started from.

Settings of something that is chosen by name (`<section>.model`, `<section>.training.schedule.name`) bring the choice
along, even if it is the preset's, because without it they have no effect. The pipeline declares which parameters are
which (`koe.pipeline.declaration.Idea`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from koe.errors import KoeError
from koe.experiments.named import ABSENT, Difference, Experiment, compose, differences
from koe.pipeline.declaration import Idea, filled


def on(
    experiment: Experiment, other: Experiment, values: Mapping[str, Any], rules: Idea
) -> tuple[Experiment, list[Difference]]:
    """The idea of an experiment as a new experiment based on another, and the differences that were left out.

    `values`: the content of params.yaml. `rules`: those of the pipeline. Raises KoeError if the idea changes nothing in
    the other experiment.
    """
    first, *further = experiment.lineage
    own, target = compose(values, experiment), compose(values, other)
    idea = list(differences(compose(values, first) if further else values, own))
    behind = [difference for difference in idea
              if _stays_behind(difference.parameter, difference.after, own, target, rules)]
    kept = {difference.parameter: difference.after for difference in idea if difference not in behind}
    kept |= dict(_choices(kept, own, rules.choosers))
    changes = {parameter: value for parameter, value in kept.items() if value != _at(target, parameter)}
    changes |= dict.fromkeys(_unfit_starts(changes, own, rules))
    if not changes:
        left_out = ", ".join(map(str, behind)) or "it has no other parameters"
        raise KoeError(f"{experiment.name}: nothing of it can be taken over to {other.name} ({left_out})")
    return Experiment(name=f"{experiment.name}-on-{other.run_name}", purpose=experiment.purpose, base=(other,),
                      parameters=changes), behind


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
    """The choices by name, with their values, in the sections of these parameters."""
    for parameter in parameters:
        sections = parameter.split(".")[:-1]
        for depth in range(1, len(sections) + 1):
            path = ".".join(sections[:depth])
            yield from ((f"{path}.{name}", value) for name, value in _at(own, path).items() if name in choosers)


def _at(tree: Mapping[str, Any], parameter: str) -> Any:
    for part in parameter.split("."):
        tree = tree.get(part, ABSENT) if isinstance(tree, Mapping) else ABSENT
    return tree


def _unfit_starts(changed: Iterable[str], own: Mapping[str, Any], rules: Idea) -> Iterator[str]:
    """Parameters that name a model to start from which does not fit the changed parameters."""
    for start, sections in rules.starts.items():
        if any(is_in(parameter, filled(section, own)) for parameter in changed for section in sections):
            yield start


def is_in(parameter: str, section: str) -> bool:
    """Whether a parameter is `section` itself or is inside it."""
    return f"{parameter}.".startswith(f"{section}.")
