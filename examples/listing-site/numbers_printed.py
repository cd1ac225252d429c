"""Numbers and days as people of a place write them."""

from datetime import date


def grouped(number: float, places: int, thousands: str, decimal: str) -> str:
    return f"{number:,.{places}f}".replace(",", "\0").replace(".", decimal).replace("\0", thousands)


def decimals(number: float) -> int:
    """How many it needs, two at most."""
    return next(places for places in (0, 1, 2) if round(number, places) == round(number, 2))


def finnish(number: float, *, narrow: bool = False) -> str:
    """With a no-break space, or a narrow one, between thousands."""
    return grouped(number, decimals(number), "\u202f" if narrow else "\xa0", ",")


def german(number: float, places: int | None = None) -> str:
    return grouped(number, decimals(number) if places is None else places, ".", ",")


def swiss(number: float) -> str:
    return grouped(number, decimals(number), "’", ".")


def english(number: float) -> str:
    return grouped(number, decimals(number), ",", ".")


def halves(number: float) -> str:
    """`3½`."""
    return f"{int(number)}½" if number % 1 else str(int(number))


def dotted(day: date) -> str:
    return f"{day.day}.{day.month}.{day.year}"


def long_german(day: date, first: str = "Januar") -> str:
    months = f"{first} Februar März April Mai Juni Juli August September Oktober November Dezember".split()
    return f"{day.day}. {months[day.month - 1]} {day.year}"
