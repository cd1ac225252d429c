"""Which rows of the alerter go after their time."""

from tidemill.alerter.tables import SCHEMA
from tidemill.common.channels import deliveries_layer
from tidemill.common.retention import rows_layer

LAYERS = (
    rows_layer("signals", "alerter.signals", "noted_at", example="t.event"),
    rows_layer("samples", "alerter.samples", "at", example="t.measure"),
    rows_layer("silences", "alerter.silences", "ends_at", example="t.author"),
    deliveries_layer(SCHEMA),
)
