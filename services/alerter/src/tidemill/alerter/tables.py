"""The tables only the alerter writes."""

from tidemill.common.bus.tables import bus_tables
from tidemill.common.database import service_metadata

SCHEMA = "alerter"
metadata = service_metadata(SCHEMA)
bus = bus_tables(metadata)
