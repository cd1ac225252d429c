"""What became of a report that was sent: told to whoever listens when a channel gave it up."""

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Outgoing, Tx
from tidemill.common.channels import Outcome
from tidemill.reporter.sendings import EDITION_OF, Edition
from tidemill.reporter.states import report_not_delivered


class Outcomes:
    """`tell` is for `Deliveries`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def tell(self, tx: Tx, outcome: Outcome) -> None:
        """In the transaction that ends a delivery."""
        if outcome.state == "delivered":
            return
        row = (await tx.execute(EDITION_OF, {"message": outcome.message})).first()
        if row is not None:  # Else its report is gone after its time, and nobody waits for it.
            edition = Edition(row.kind, row.subject, row.edition)
            await self._bus.emit(tx, [_given_up(outcome, edition, row.source, row.day.isoformat())])


def _given_up(outcome: Outcome, edition: Edition, source: str, day: str) -> Outgoing:
    """Once for each time that a message is given up: one that is tried again counts its attempts on."""
    told = "/".join((outcome.message, outcome.channel, outcome.recipient, str(outcome.attempts)))
    event = report_not_delivered(outcome, edition.kind, edition.subject, edition.edition, source, day)
    return Outgoing(f"undelivered/{told}", event)
