"""One self-contained page of sections: rendered from the template, with plotly.js and all data inside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from hpo.display.tables import counts_line
from hpo.formatting import number
from hpo.records import utc_now
from hpo.reporting.figures.style import tellings
from hpo.reporting.figures.time import attempt_tellings
from hpo.reporting.material import Material
from hpo.reporting.sections.blocks import FigureBlock, Section, inside_script
from hpo.reporting.sections.evaluation import evaluation_section
from hpo.reporting.sections.forecast import forecast_section
from hpo.reporting.sections.model import model_sections
from hpo.reporting.sections.results import result_sections, summary
from hpo.reporting.sections.running import running_sections
from hpo.reporting.sections.samples import samples_section

TEMPLATES = Path(__file__).parent / "templates"


def sections(material: Material) -> list[Section]:
    """Every section of the page, in its order."""
    results = {section.name: section for section in result_sections(material)}
    last = results.pop("trials")
    return [*results.values(), *model_sections(material), *_then(material, last)]


def _then(material: Material, trials: Section) -> Iterator[Section]:
    judged = evaluation_section(material.snapshot.paths)
    for section in running_sections(material):
        if section.name == "failures":
            yield from filter(None, [forecast_section(material)])
        if section.name == "provenance":
            yield from [judged] if judged else []
            yield from filter(None, [samples_section(material)])
            yield trials
        yield section


def render(material: Material) -> str:
    """The page; the template escapes every text, figures bring theirs escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["number"] = number
    parts = sections(material)
    figures = [block for part in parts for block in part.blocks if isinstance(block, FigureBlock)]
    hovers = {**tellings(material.study), "attempts": attempt_tellings(material.spans)}
    return environment.get_template("report.html.j2").render(
        name=material.study.name,
        state=material.snapshot.state,
        counts=counts_line(material.snapshot),
        made_at=utc_now()[:19].replace("T", " "),
        tiles=summary(material),
        sections=parts,
        style=Markup(_text("report.css")),
        script=Markup(_text("report.js")),
        # all of it ours or plotly's, or JSON that cannot end its element
        plotly=Markup(get_plotlyjs()) if figures else "",
        figures=[(figure.name, Markup(figure.to_json())) for figure in figures],
        hovers=Markup(inside_script(json.dumps(hovers, separators=(",", ":")))),
    )


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
