"""The search space of a sweep: parameters of params.yaml, each with its possible values.

    acoustic.encoder.hidden=[128, 256]                         one of these; YAML, so also words, null and lists
    acoustic.encoder.layers=1..4                               whole numbers, both ends included
    acoustic.pitch.dropout=0.0..0.5                            real numbers
    acoustic.training.schedule.learning_rate=1e-4..1e-2:log    on a logarithmic scale; whole numbers too
"""

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from koe.errors import KoeError, ParameterError, StoreError
from koe.experiments.named import Experiment, check_composed, compose
from koe.params.section import Section
from koe.yaml_files import parse_yaml

if TYPE_CHECKING:
    import optuna

SYNTAX = "[1, 2, 4] for choices, 1..4 or 0.0..0.5 for a range, 1e-4..1e-2:log for a range on a logarithmic scale"

_RANGE = re.compile(r"(?P<low>[^\s:\[\]]+?)\.\.(?P<high>[^\s:\[\]]+?)(?P<log>:log)?")


@dataclass(frozen=True)
class Choices:
    """One of several values, of any type."""

    values: tuple[Any, ...]

    def draw(self, trial: "optuna.Trial", name: str) -> Any:
        """This trial's value. Optuna gets JSON, because it can store neither lists nor mappings."""
        return json.loads(trial.suggest_categorical(name, [json.dumps(value) for value in self.values]))

    def drawn(self, internal: Any) -> Any:
        """The value that Optuna stores as `internal`."""
        return json.loads(internal)

    def listed(self) -> list[Any]:
        """The values of a grid, as Optuna stores them."""
        return [json.dumps(value) for value in self.values]

    def examples(self) -> Iterable[Any]:
        """Values that must all be of the parameter's type."""
        return self.values


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, whole if both ends are written as whole numbers."""

    low: float
    high: float
    logarithmic: bool

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def draw(self, trial: "optuna.Trial", name: str) -> float:
        """This trial's value; real numbers have four significant digits, so that they are easy to read and type."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.logarithmic)
        return self.drawn(trial.suggest_float(name, self.low, self.high, log=self.logarithmic))

    def drawn(self, internal: float) -> float:
        """The value that Optuna stores as `internal`."""
        return internal if self.whole else float(f"{internal:.4g}")

    def listed(self) -> list[Any]:
        """The values of a grid. Raises ParameterError for ranges of real numbers and logarithmic ranges."""
        if not self.whole or self.logarithmic:
            raise ParameterError(f"a grid needs [1, 2, 4], or whole numbers, 1..4, not {self.low}..{self.high}")
        return list(range(int(self.low), int(self.high) + 1))

    def examples(self) -> Iterable[Any]:
        """Values that must all be of the parameter's type."""
        return (self.low, self.high) if self.whole else (self.low, self.low + (self.high - self.low) / math.e)


Domain = Choices | Range


def parse_setting(text: str) -> tuple[str, Domain]:
    """Parses `name=values`. Raises ParameterError with the expected syntax."""
    name, equals, values = (part.strip() for part in text.partition("="))
    if not name or not equals:
        raise ParameterError(f"--set {text}: expected parameter=values, {SYNTAX}")
    try:
        return name, _parse_values(values)
    except (StoreError, ValueError) as error:
        raise ParameterError(f"--set {text}: {error}; expected {SYNTAX}") from None


def _parse_values(text: str) -> Domain:
    if match := _RANGE.fullmatch(text):
        low, high = _number(match["low"]), _number(match["high"])
        if not low < high:
            raise ValueError(f"{low} is not below {high}")
        if match["log"] and low <= 0:
            raise ValueError("a logarithmic scale needs numbers above 0")
        return Range(low, high, bool(match["log"]))
    values = parse_yaml(text, text)
    if not isinstance(values, list) or len(values) < 2:
        raise ValueError("there is nothing to choose from")
    return Choices(tuple(values))


def _number(text: str) -> float:
    value = parse_yaml(text, text)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{text} is not a number")
    return value


def read_space(settings: Iterable[str], values: Mapping[str, Any], schema: type[Section]) -> dict[str, Domain]:
    """The possible values of every parameter that varies, by its name.

    `values`: the content of params.yaml, of `schema`. Raises ParameterError for a parameter that does not exist, is
    named twice or is inside another one's section, and for a value of a wrong type. Contradictions between values are
    left to the trials that combine them.
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
        raise ParameterError(f"no parameter varies; give at least one --set parameter=values, {SYNTAX}")
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
        check_composed(schema, values, composed, f"--set {name}={json.dumps(value)}")  # its message names the parameter


def grid(space: Mapping[str, Domain]) -> Iterator[dict[str, Any]]:
    """Every combination, as Optuna stores it, the last parameter changing fastest. Raises as `Range.listed` does."""
    def listed(name: str, domain: Domain) -> list[Any]:
        try:
            return domain.listed()
        except KoeError as error:
            raise ParameterError(f"--set {name}: {error}") from None

    lists = [listed(name, domain) for name, domain in space.items()]
    return (dict(zip(space, combination, strict=True)) for combination in itertools.product(*lists))
