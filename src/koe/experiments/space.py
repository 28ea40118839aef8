"""What a sweep varies: parameters of params.yaml, each with the values that it may take.

    acoustic.encoder.hidden=[128, 256]                         one of these; YAML, so also words, null and lists
    acoustic.encoder.layers=1..4                               whole numbers, both ends included
    acoustic.pitch.dropout=0.0..0.5                            real numbers
    acoustic.training.schedule.learning_rate=1e-4..1e-2:log    evenly by their logarithm; whole numbers too
"""

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from koe.errors import KoeError, ParameterError
from koe.experiments.named import Experiment, compose
from koe.params.reading import check
from koe.params.section import Section

if TYPE_CHECKING:
    import optuna

SYNTAX = "[1, 2, 4] for choices, 1..4 or 0.0..0.5 for a range, 1e-4..1e-2:log for one by its logarithm"

_RANGE = re.compile(r"(?P<low>[^\s:\[\]]+?)\.\.(?P<high>[^\s:\[\]]+?)(?P<log>:log)?")


@dataclass(frozen=True)
class Choices:
    """One of several values, of any type."""

    values: tuple[Any, ...]

    def draw(self, trial: "optuna.Trial", name: str) -> Any:
        """This trial's value. Optuna is given JSON, for it keeps neither lists nor mappings."""
        return json.loads(trial.suggest_categorical(name, [json.dumps(value) for value in self.values]))

    def drawn(self, internal: Any) -> Any:
        """The value that Optuna keeps as `internal`."""
        return json.loads(internal)

    def listed(self) -> list[Any]:
        """What a grid takes, as Optuna keeps it."""
        return [json.dumps(value) for value in self.values]

    def examples(self) -> Iterable[Any]:
        """Values that must all be of the parameter's type."""
        return self.values


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, whole ones if both ends are written as such."""

    low: float
    high: float
    logarithmic: bool

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def draw(self, trial: "optuna.Trial", name: str) -> float:
        """This trial's value; real numbers with four significant digits, so that they can be read and typed."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.logarithmic)
        return self.drawn(trial.suggest_float(name, self.low, self.high, log=self.logarithmic))

    def drawn(self, internal: float) -> float:
        """The value that Optuna keeps as `internal`."""
        return internal if self.whole else float(f"{internal:.4g}")

    def listed(self) -> list[Any]:
        """What a grid takes. Raises ParameterError for ranges that have no end of values."""
        if not self.whole or self.logarithmic:
            raise ParameterError(f"a grid wants [1, 2, 4], or whole numbers, 1..4, not {self.low}..{self.high}")
        return list(range(int(self.low), int(self.high) + 1))

    def examples(self) -> Iterable[Any]:
        """Values that must all be of the parameter's type."""
        return (self.low, self.high) if self.whole else (self.low, self.low + (self.high - self.low) / math.e)


Domain = Choices | Range


def parse_setting(text: str) -> tuple[str, Domain]:
    """`name=values` as a name and its values. Raises ParameterError that says what it may look like."""
    name, equals, written = (part.strip() for part in text.partition("="))
    if not name or not equals:
        raise ParameterError(f"--set {text}: expected parameter=values, {SYNTAX}")
    try:
        return name, _parse_values(written)
    except (yaml.YAMLError, ValueError) as error:
        raise ParameterError(f"--set {text}: {error}; expected {SYNTAX}") from None


def _parse_values(written: str) -> Domain:
    if match := _RANGE.fullmatch(written):
        low, high = _number(match["low"]), _number(match["high"])
        if not low < high:
            raise ValueError(f"{low} is not below {high}")
        if match["log"] and low <= 0:
            raise ValueError("a logarithm wants numbers above 0")
        return Range(low, high, bool(match["log"]))
    values = yaml.load(written, _Loader)
    if not isinstance(values, list) or len(values) < 2:
        raise ValueError("there is nothing to choose from")
    return Choices(tuple(values))


def _number(text: str) -> float:
    value = yaml.load(text, _Loader)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{text} is not a number")
    return value


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-4 is a number, as it is in YAML 1.2; PyYAML's own wants 1.0e-4."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+"),
                              list("-+0123456789"))


def read_space(settings: Iterable[str], values: Mapping[str, Any], schema: type[Section]) -> dict[str, Domain]:
    """The values of every parameter that is to vary, by its name.

    `values`: params.yaml as a tree, of `schema`. Raises ParameterError for a parameter that is not there, is named
    twice or lies in another's section, and for a value that is not of its type; what only contradicts another value is
    left to the trial that has both.
    """
    space: dict[str, Domain] = {}
    for text in settings:
        name, domain = parse_setting(text)
        if clash := next((other for other in space if _overlap(name, other)), None):
            raise ParameterError(f"--set {text}: {clash} is set already")
        for value in domain.examples():
            _check_type(values, name, value, schema)
        space[name] = domain
    if not space:
        raise ParameterError(f"nothing varies; give at least one --set parameter=values, {SYNTAX}")
    return space


def _overlap(name: str, other: str) -> bool:
    return f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}.")


def _check_type(values: Mapping[str, Any], name: str, value: Any, schema: type[Section]) -> None:
    try:
        composed = compose(values, Experiment(name="sweep", purpose="a value", parameters={name: value}))
    except ParameterError:
        raise ParameterError(f"--set {name}: params.yaml has no such parameter") from None
    try:
        schema.model_validate(composed)
    except ValidationError:
        check(schema, composed, f"--set {name}={json.dumps(value)}")  # says it by the parameter's name


def grid(space: Mapping[str, Domain]) -> Iterator[dict[str, Any]]:
    """Every combination, as Optuna keeps it, the last parameter changing fastest. Raises ParameterError for real
    ranges.
    """
    def listed(name: str, domain: Domain) -> list[Any]:
        try:
            return domain.listed()
        except KoeError as error:
            raise ParameterError(f"--set {name}: {error}") from None

    lists = [listed(name, domain) for name, domain in space.items()]
    return (dict(zip(space, combination, strict=True)) for combination in itertools.product(*lists))
