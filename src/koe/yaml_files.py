"""YAML files, checked: parameters, experiments, and what DVC writes.

Numbers are those of YAML 1.2, as DVC reads them: 1e-4 is one, which PyYAML's own loader takes for a text. A name may
stand in a mapping once, and aliases may not multiply a small file into a large one.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from koe.errors import KoeError, StoreError
from koe.files import LARGEST_WHOLE, read_text, reason

LARGEST = 200_000  # values, with every alias counted as what it stands for
_MERGE = "tag:yaml.org,2002:merge"


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader, stricter; it builds texts, numbers, dates, lists and mappings only."""

    def get_single_node(self) -> Node | None:
        node = super().get_single_node()
        if node is not None:
            _size(node, {}, set())
        return node

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
                raise ValueError(f"larger than {LARGEST_WHOLE}")
            return value
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:  # such as a month 13
            kind = node.tag.rpartition(":")[2]
            text = f"{node.value:.40}" if isinstance(node, ScalarNode) else "it"
            raise yaml.MarkedYAMLError(problem=f"{text!r} is no valid {kind} ({reason(error)})",
                                       problem_mark=node.start_mark) from error

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                continue
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if isinstance(key, Hashable) and key in lines:
                raise yaml.MarkedYAMLError(
                    problem=f"{key} is there twice, in line {lines[key]} too; remove one of the two",
                    problem_mark=key_node.start_mark)
            if isinstance(key, Hashable):
                lines[key] = line
        return super().construct_mapping(node, deep)


Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
                             list("-+.0123456789"))


def _size(node: Node, known: dict[int, int], above: set[int]) -> int:
    """Number of values that a node stands for. Raises YAMLError if they are too many, or contain themselves."""
    if isinstance(node, ScalarNode):
        return 1
    if id(node) in above:
        raise yaml.MarkedYAMLError(problem="an alias contains itself", problem_mark=node.start_mark)
    if id(node) not in known:
        children = [child for pair in node.value for child in pair] if isinstance(node, MappingNode) else node.value
        above.add(id(node))
        known[id(node)] = 1 + sum(_size(child, known, above) for child in children)
        above.discard(id(node))
    if known[id(node)] > LARGEST:
        raise yaml.MarkedYAMLError(problem=f"it stands for more than {LARGEST} values", problem_mark=node.start_mark)
    return known[id(node)]


def read_yaml(path: str | Path, error: type[KoeError] = StoreError) -> Any:
    """The content of a YAML file. Raises `error` naming file and line as `read_text` and `parse_yaml` do."""
    return parse_yaml(read_text(path, error), str(path), error)


def parse_yaml(text: str, where: str, error: type[KoeError] = StoreError) -> Any:
    """The content of a YAML text. Raises `error` with `where` and the line if it is not YAML, or too deeply nested, if
    a name stands in a mapping twice, if aliases multiply it, or if a value is not what its tag says.
    """
    try:
        return yaml.load(text, Loader)
    except yaml.MarkedYAMLError as cause:
        mark = cause.problem_mark or cause.context_mark
        line = f" in line {mark.line + 1}" if mark else ""
        advice = "; indent with spaces" if "\\t" in str(cause.problem) else ""
        raise error(f"{where} is not valid YAML{line}: {cause.problem or cause.context}{advice}") from None
    except RecursionError:
        raise error(f"{where} is not valid YAML: it is nested too deeply") from None
    except yaml.YAMLError as cause:
        raise error(f"{where} is not valid YAML: {reason(cause)}") from None
