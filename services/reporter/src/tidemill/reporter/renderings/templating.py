"""How templates become pages: everything of strangers is escaped, and what they would hide is shown."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from tidemill.reporter.renderings.visible import visible


def make_templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("tidemill.reporter.renderings"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["visible"] = visible
    return environment
