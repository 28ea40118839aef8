"""Sections of a parameter file: immutable, typed, and each with the contradictions that its own values can have.

A section stands beside what it sizes (`koe.nn.params`, `koe.vocoder.params` and so on); what only a whole pipeline can
contradict stands with the pipeline's schema. A section holds values and checks them. Nothing that decides a result is
computed here.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator

Part = TypeVar("Part", bound="Section")


class Section(BaseModel):
    """A part of a parameter file: immutable, and no unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False, serialize_by_alias=True)

    def contradictions(self, name: str) -> Iterator[str]:
        """A sentence for each set of values that cannot go together, beginning with the parameters' names.

        name: the section's own in the file, e.g. `acoustic.training`. Of parts of it, see `all_contradictions`.
        """
        yield from ()


class Choice(Section):
    """A section that chooses among its parts by name: `model: hifigan` takes what the part `hifigan` holds.

    A parameter file has every part, so that choosing another is a change of one value; all of them are checked. The
    object, and with it a model's folder and a checkpoint's key, holds what is chosen alone: a part more or less in the
    schema changes no model that does not use it.

    Subclasses name their parts, each `<Section> | None = None`, and what chooses them.
    """

    PARTS: ClassVar[tuple[str, ...]] = ()
    CHOOSERS: ClassVar[tuple[str, ...]] = ("model",)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The names of the parts that are in use."""
        names = [getattr(self, chooser) for chooser in self.CHOOSERS]
        return tuple(dict.fromkeys(name for name in names if name in self.PARTS))

    def part(self, kind: type[Part]) -> Part:
        """The chosen part of a class. Raises TypeError if another is chosen: what the others hold is not kept."""
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
    def _keep_what_is_chosen(self) -> Self:
        missing = [name for name in self.chosen if getattr(self, name) is None]
        if missing:
            chooser = next(chooser for chooser in self.CHOOSERS if getattr(self, chooser) == missing[0])
            raise ValueError(f"{chooser} is {missing[0]}, and the part {missing[0]} is missing")
        for name in set(self.PARTS) - set(self.chosen):
            self.__dict__[name] = None  # the class is frozen for everybody else
        return self

    @model_serializer(mode="wrap")
    def _without_other_parts(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = serialize(self)
        return {name: value for name, value in values.items() if name not in self.PARTS or name in self.chosen}

    @classmethod
    def of_card(cls, values: Mapping[str, Any]) -> Self:
        """From a model's card, which may be of a version with other parts: those that are not chosen are not read.

        Raises pydantic's ValidationError as `model_validate` does.
        """
        chosen = {values.get(chooser) for chooser in cls.CHOOSERS}
        return cls.model_validate({
            name: value for name, value in values.items() if name in chosen or name not in cls.PARTS})


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
