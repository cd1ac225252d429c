"""What a service is, and how it runs."""

from tidemill.common.bus.rights import Uses
from tidemill.common.service.serving import (
    Service,
    archive_url,
    be_frugal,
    main,
    run,
    run_services,
    stop_on_signals,
)
from tidemill.common.service.spec import (
    EVERY,
    Context,
    ServiceSpec,
    Task,
    UnknownService,
    Wiring,
    find_services,
    service_names,
)
from tidemill.common.telemetry.health import Check

__all__ = [
    "EVERY",
    "Check",
    "Context",
    "Service",
    "ServiceSpec",
    "Task",
    "UnknownService",
    "Uses",
    "Wiring",
    "archive_url",
    "be_frugal",
    "find_services",
    "main",
    "run",
    "run_services",
    "service_names",
    "stop_on_signals",
]
