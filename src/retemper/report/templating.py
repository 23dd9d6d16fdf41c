"""Pages out of templates: everything that comes in is text, but for the figures."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from retemper.report import wording
from retemper.report.svg import to_svg

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from matplotlib.figure import Figure


def environment() -> "Environment":
    """The templates of this package; names are escaped, and a missing value is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("retemper.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["wording"] = wording
    return environment


def inlined(figures: Mapping[str, "Figure"]) -> dict[str, "Markup"]:
    """The figures as SVG that the template takes as it is; their text was escaped by matplotlib."""
    from markupsafe import Markup

    return {title: Markup(to_svg(figure, title.replace(" ", "-"))) for title, figure in figures.items()}
