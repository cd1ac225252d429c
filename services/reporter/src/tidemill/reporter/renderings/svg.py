"""Charts as pictures, by vl-convert: no browser, no network."""

from tidemill.reporter.renderings.charts import Spec

NOWHERE: list[str] = []


def svg(spec: Spec) -> str:
    import vl_convert

    return vl_convert.vegalite_to_svg(spec, allowed_base_urls=NOWHERE)


def png(spec: Spec) -> bytes:
    """At twice its size, for screens that show so much."""
    import vl_convert

    return vl_convert.vegalite_to_png(spec, scale=2, allowed_base_urls=NOWHERE)
