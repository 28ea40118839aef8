"""A pipeline's page: one HTML file with its sounds, pictures, style and script inside.

It consists of the blocks that the pipeline declares. Each block reads its content from the pipeline's folder and has a
template, which escapes all texts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from koe.files import write_text
from koe.params.reading import flatten
from koe.pipeline.declaration import PAGE, Block, PipelineFolder
from koe.report.blocks import DEFAULT

HERE = Path(__file__).parent


def write_page(folder: PipelineFolder, revision: str | None = None) -> Path:
    """Writes the page of a pipeline's folder and returns its path. `revision`: the code that ran."""
    path = folder.path / PAGE
    write_text(path, build_page(folder, revision))
    return path


def build_page(folder: PipelineFolder, revision: str | None = None, notes: Sequence[str] = ()) -> str:
    """The page as one HTML document that refers to nothing outside itself, with notes at its head.

    Raises StoreError if shards are damaged.
    """
    blocks = DEFAULT if folder.pipeline.page is None else folder.pipeline.page
    return render_page(folder, [(block, block.load(folder)) for block in blocks], revision, notes)


def render_page(
    folder: PipelineFolder, loaded: Sequence[tuple[Block, Mapping[str, Any] | None]], revision: str | None = None,
    notes: Sequence[str] = (),
) -> str:
    """The page from blocks and the values for their templates; blocks with None are left out."""
    parameters = dict(flatten(folder.values))
    shown = [(block, values) for block, values in loaded if values is not None]
    return templates(HERE).get_template("page.html.jinja").render(
        style=content(HERE / "page.css"),
        script=content(HERE / "page.js"),
        revision=revision,
        notes=notes,
        heading=folder.pipeline.title,
        corpora=folder.values.get("corpora", {}),
        facts={name: parameters[name] for name in folder.pipeline.facts if name in parameters},
        blocks=[block for block, _ in shown],
        sections=Markup("\n\n").join(render_block(block, values) for block, values in shown),
    )


def render_block(block: Block, values: Mapping[str, Any]) -> Markup:
    """A section of the page."""
    environment = templates(block.template.parent, HERE)
    return Markup(environment.get_template(block.template.name).render(values))


def templates(*folders: Path) -> Environment:
    """The templates in these folders. They escape all texts, and an undefined name is an error."""
    return Environment(loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True)


def content(*paths: Path) -> Markup:
    """Style sheets or scripts, concatenated, to be embedded in a page unescaped."""
    return Markup("\n".join(path.read_text(encoding="utf-8") for path in paths))
