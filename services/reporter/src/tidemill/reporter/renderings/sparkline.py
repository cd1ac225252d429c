"""A measure's last weeks at the size of a word, as SVG that needs no script."""

from collections.abc import Sequence

from markupsafe import Markup

from tidemill.reporter.report import Point, Series

WIDTH, HEIGHT, EDGE = 120, 26, 3
DAYS = 28


def sparkline(series: Series) -> Markup:
    """Band, line and a red dot for each anomaly; a gap where a day has no value. Numbers only, so safe as markup."""
    points = series.points[-DAYS:]
    known = [n for p in points for n in (p.value, p.low, p.high) if n is not None]
    if not known:
        return Markup("")
    least, most = min(known), max(known)

    def x(index: int) -> float:
        return EDGE + (WIDTH - 2 * EDGE) * index / max(1, len(points) - 1)

    def y(value: float) -> float:
        return HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * ((value - least) / (most - least) if most > least else 0.5)

    lines = "".join(
        f'<path class="spark-line" d="M{" ".join(f"{x(i):.1f},{y(value):.1f}" for i, value in part)}"/>'
        for part in _unbroken(points)
        if len(part) > 1
    )
    alone = "".join(
        f'<circle class="spark-alone" cx="{x(part[0][0]):.1f}" cy="{y(part[0][1]):.1f}" r="1.8"/>'
        for part in _unbroken(points)
        if len(part) == 1
    )
    dots = "".join(
        f'<circle class="spark-bad" cx="{x(i):.1f}" cy="{y(p.value):.1f}" r="2.4"/>'
        for i, p in enumerate(points)
        if p.anomalous and p.value is not None
    )
    banded = [(i, p.low, p.high) for i, p in enumerate(points) if p.low is not None and p.high is not None]
    upper = " ".join(f"{x(i):.1f},{y(high):.1f}" for i, _, high in banded)
    lower = " ".join(f"{x(i):.1f},{y(low):.1f}" for i, low, _ in reversed(banded))
    area = f'<path class="spark-band" d="M{upper} {lower}Z"/>' if banded else ""
    return Markup(
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">{area}{lines}{alone}{dots}</svg>'
    )


def _unbroken(points: Sequence[Point]) -> list[list[tuple[int, float]]]:
    """Stretches of days that have a value, with their places."""
    parts: list[list[tuple[int, float]]] = [[]]
    for place, point in enumerate(points):
        if point.value is None:
            parts.append([])
        else:
            parts[-1].append((place, point.value))
    return [part for part in parts if part]
