"""Sections of a parameter file: immutable and typed, each with a check for contradictions among its own values.

A section is defined beside the code that it configures (`koe.nn.params`, `koe.vocoder.params` and so on);
contradictions between sections are checked by the pipeline's schema. A section holds values and checks them. Nothing
that decides a result is computed here.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

Part = TypeVar("Part", bound="Section")


def _require_exact(schema: Any) -> None:
    """Makes a schema of pydantic's, in place, take no number or truth value for another. Lists still become tuples."""
    if isinstance(schema, dict):
        if schema.get("type") in ("int", "float", "bool"):
            schema["strict"] = True
        for key, part in schema.items():
            if key not in ("default", "metadata", "serialization"):
                _require_exact(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            _require_exact(part)


class Section(BaseModel):
    """A part of a parameter file: immutable, without unknown names.

    Numbers and truth values are taken as they are written: `yes` is not 1, "12" in quotes is a text, 0 is not false,
    3.0 is not a whole number. A whole number may stand for any other (8000 for 8000.0).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False, serialize_by_alias=True)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        _require_exact(schema)
        return schema

    def contradictions(self, name: str) -> Iterator[str]:
        """A sentence for each set of values that contradict each other, beginning with the parameters' names.

        name: the section's name in the file, e.g. `acoustic.training`. Nested sections: see `all_contradictions`.
        """
        yield from ()


class Card(Section):
    """The description beside a model's weights. What it says more, other readers or other versions of Koe use."""

    model_config = ConfigDict(extra="ignore")

    checksums: dict[str, str] = {}  # of the files beside it (koe.weights); none in cards of older versions


class Choice(Section):
    """A section that chooses among its parts by name: `model: hifigan` uses the values of the part `hifigan`.

    A parameter file has every part, so that choosing another one changes a single value; all parts are checked. The
    object, and with it a model's folder and a checkpoint's key, holds the chosen parts only: adding a part to the
    schema, or removing one, changes no model that does not use it.

    Subclasses list in PARTS the names of their parts, fields of type `<Section> | None = None`, and in CHOOSERS the
    fields that choose among them.
    """

    PARTS: ClassVar[tuple[str, ...]] = ()
    CHOOSERS: ClassVar[tuple[str, ...]] = ("model",)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The names of the chosen parts."""
        names = [getattr(self, chooser) for chooser in self.CHOOSERS]
        return tuple(dict.fromkeys(name for name in names if name in self.PARTS))

    def part(self, kind: type[Part]) -> Part:
        """The chosen part of class `kind`. Raises TypeError if another is chosen: unused parts are not kept."""
        for name in self.chosen:
            if isinstance(part := getattr(self, name), kind):
                return part
        raise TypeError(f"{type(self).__name__} has chosen {', '.join(self.chosen)}, not a {kind.__name__}")

    @classmethod
    def kinds(cls) -> dict[str, type[Section]]:
        """The classes of the parts, by name."""
        return {name: next(kind for kind in get_args(cls.model_fields[name].annotation) if issubclass(kind, Section))
                for name in cls.PARTS}

    @model_validator(mode="after")
    def _keep_chosen_parts(self) -> Self:
        missing = [name for name in self.chosen if getattr(self, name) is None]
        if missing:
            chooser = next(chooser for chooser in self.CHOOSERS if getattr(self, chooser) == missing[0])
            raise ValueError(f"{chooser} is {missing[0]}, and the part {missing[0]} is missing")
        for name in set(self.PARTS) - set(self.chosen):
            self.__dict__[name] = None  # assignment is forbidden by `frozen`
        return self

    @model_serializer(mode="wrap")
    def _without_other_parts(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = serialize(self)
        return {name: value for name, value in values.items() if name not in self.PARTS or name in self.chosen}

    @classmethod
    def used(cls, values: Any) -> Any:
        """The values of a model's card without the parts that it did not choose, which may be of another version."""
        if not isinstance(values, Mapping):
            return values
        chosen = [values.get(chooser) for chooser in cls.CHOOSERS]
        return {name: value for name, value in values.items() if name in chosen or name not in cls.PARTS}


def all_contradictions(section: Section, name: str = "") -> Iterator[str]:
    """The contradictions of a section and of every section in it; `name` as in `Section.contradictions`."""
    yield from section.contradictions(name)
    for field, info in type(section).model_fields.items():
        yield from _contradictions_in(getattr(section, field), dotted(name, info.alias or field))


def _contradictions_in(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, Section):
        yield from all_contradictions(value, name)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _contradictions_in(part, dotted(name, str(key)))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, part in enumerate(value):
            yield from _contradictions_in(part, f"{name}[{index}]")


def dotted(*names: str) -> str:
    """`acoustic`, `training` → `acoustic.training`; empty ones are left out."""
    return ".".join(filter(None, names))
