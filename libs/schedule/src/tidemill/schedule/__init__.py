"""When a source is due: slots, missed slots, time zones."""

from tidemill.schedule.cron import Cron
from tidemill.schedule.errors import InvalidSchedule
from tidemill.schedule.interval import Every, Once
from tidemill.schedule.missed import ON_TIME, Skip, Verdict, decide, newest_slots
from tidemill.schedule.schedule import Missed, Schedule, expected_slots, next_slots
from tidemill.schedule.windows import Days, Hours
from tidemill.schedule.zones import find_zone, instant, wall

__all__ = [
    "ON_TIME",
    "Cron",
    "Days",
    "Every",
    "Hours",
    "InvalidSchedule",
    "Missed",
    "Once",
    "Schedule",
    "Skip",
    "Verdict",
    "decide",
    "expected_slots",
    "find_zone",
    "instant",
    "newest_slots",
    "next_slots",
    "wall",
]
