"""Through Apprise: whatever else people read."""

from tidemill.common.channels.letter import Letter
from tidemill.common.channels.masking import said
from tidemill.common.channels.outcome import Reply
from tidemill.common.channels.threads import Lane
from tidemill.common.config.channels import AppriseChannel

SEVERITIES = {"info": "info", "warning": "warning", "critical": "failure"}


async def send_by_apprise(channel: AppriseChannel, letter: Letter, lane: Lane) -> Reply:
    """Apprise says only whether it worked and what it logged: every failure but an address that it does not understand
    may pass."""
    url = channel.url.fetch()
    return await lane.run(lambda: _notify(url, letter))


def _notify(url: str, letter: Letter) -> Reply:
    import apprise  # 200 ms, and only for those who use it.

    # It would keep files in the home folder, and read a text's backslashes and emoji names.
    asset = apprise.AppriseAsset(
        app_id="Tidemill", app_desc="Tidemill", storage_mode=apprise.PersistentStoreMode.MEMORY, interpret_escapes=False
    )
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is None:
        return Reply(verdict="never", text="Apprise knows no such address; see its list of services for the form")
    headers = getattr(service, "headers", None)
    if isinstance(headers, dict):  # json://, xml://, form://: the only ones that can carry it.
        headers["Idempotency-Key"] = letter.key
    sender = apprise.Apprise(asset=asset)
    sender.add(service)
    result = sender.notify(
        title=letter.subject,
        body=f"{letter.text}\n\n({letter.reference})",
        notify_type=apprise.NotifyType(SEVERITIES[letter.severity]),
        body_format=apprise.NotifyFormat.TEXT,
    )
    told = said("; ".join(entry.message for entry in result.logs()))
    if result:
        return Reply(verdict="taken", text=told or "Apprise says that it was sent")
    return Reply(verdict="later", text=told or "Apprise says that it was not sent")
