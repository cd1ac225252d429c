"""Telling people: what is said, through which channel, and that it is said once."""

from tidemill.common.channels.deliveries import Deliveries
from tidemill.common.channels.emergency import Emergency
from tidemill.common.channels.heartbeat import Heartbeat
from tidemill.common.channels.message import Attachment, Message, Severity, To, Unsendable, one_line
from tidemill.common.channels.outcome import Outcome, Reply
from tidemill.common.channels.senders import Senders, from_archive
from tidemill.common.channels.tables import DeliveryTables, deliveries_layer, deliveries_table, delivery_tables
from tidemill.common.channels.trial import Tried, send_test

__all__ = [
    "Attachment",
    "Deliveries",
    "DeliveryTables",
    "Emergency",
    "Heartbeat",
    "Message",
    "Outcome",
    "Reply",
    "Senders",
    "Severity",
    "To",
    "Tried",
    "Unsendable",
    "deliveries_layer",
    "deliveries_table",
    "delivery_tables",
    "from_archive",
    "one_line",
    "send_test",
]
