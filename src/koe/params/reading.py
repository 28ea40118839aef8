"""Parameter files: read and checked in full before anything is computed.

The sections of a file are declared by its pipeline's schema (e.g. `koe.tasks.conversion.schema`). Every error names
the parameter, its value and what would be valid; all errors are listed at once.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from koe.errors import ParameterError
from koe.files import kind_of
from koe.params.section import Section, all_contradictions
from koe.yaml_files import read_yaml

Schema = TypeVar("Schema", bound=Section)
KEY = "[key]"  # last part of pydantic's location where a mapping's key, not its value, is wrong


def read_values(path: str | Path = "params.yaml") -> dict[str, Any]:
    """A parameter file as a plain tree. Raises ParameterError if it is not there or not YAML (`read_yaml`)."""
    path = Path(path)
    if not path.exists():
        raise ParameterError(f"{path} does not exist; run from the pipeline's folder (the project's root, or "
                             "pipelines/<name>)")
    values = read_yaml(path, ParameterError)
    if not isinstance(values, dict):
        raise ParameterError(f"{path} holds {kind_of(values)}; expected sections of parameters")
    return values


def check(schema: type[Schema], values: Any, where: str = "params.yaml") -> Schema:
    """Types and cross-checks a parameter tree. Raises ParameterError listing everything that is wrong with it."""
    params = typed(schema, values, where)
    if contradictions := list(all_contradictions(params)):
        raise ParameterError(listed(where, contradictions))
    return params


def typed(schema: type[Schema], values: Any, where: str = "params.yaml") -> Schema:
    """A tree as a section, without cross-checks. Raises ParameterError listing every value of a wrong type."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise ParameterError(listed(where, (_explain(schema, entry) for entry in error.errors()))) from None


def listed(where: str, messages: Iterable[str]) -> str:
    """Several messages as one, under the file's name."""
    return f"{where}:\n" + "\n".join(f"  {message}" for message in messages)


def at(values: Any, name: str) -> Any:
    """The value of a dotted name in a tree. Raises KeyError."""
    for part in name.split("."):
        if not isinstance(values, Mapping):
            raise KeyError(name)
        values = values[part]
    return values


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A tree of parameters as dotted names and values, lists whole."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _explain(schema: type[Section], entry: Any) -> str:
    name = ".".join(str(part) for part in entry["loc"] if part != KEY)
    if entry["type"] == "extra_forbidden":
        return f"{name}: no such parameter; this section has {', '.join(_siblings(schema, entry['loc']))}"
    if entry["type"] == "missing":
        return f"{name}: missing"
    message, value = entry["msg"].removeprefix("Value error, "), entry["input"]
    message = message[0].lower() + message[1:]
    if entry["type"] == "string_type" and isinstance(value, bool | int | float):  # yes, no, on, off; 007
        return f"{name}: {message}, and YAML takes it for {value!r}; put it in quotes"
    if KEY in entry["loc"] or message.startswith(f"{value} "):  # the message contains the value
        return f"{name}: {message}"
    if isinstance(value, Mapping) and value:  # a whole section: its values would hide the message
        return f"{name}: {message}"
    return f"{name}: {message} (it is {value!r})"


def _siblings(schema: type[Section], location: tuple[Any, ...]) -> list[str]:
    """The names that are valid in place of an unknown one."""
    sections: list[type[BaseModel]] = [schema]
    for part in location[:-1]:
        inside = [section.model_fields[part].annotation for section in sections if part in section.model_fields]
        sections = [section for annotation in inside for section in _sections_of(annotation)] or sections
    return sorted({info.alias or name for section in sections for name, info in section.model_fields.items()})


def _sections_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections that an annotation names, also inside unions, lists and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections_of(argument)
