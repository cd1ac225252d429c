"""The browser as a program: where it is, how it is started so that it reaches nothing by itself, how it ends."""

import asyncio
import ctypes
import os
import re
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from tidemill.common.http import FetchFailure

if TYPE_CHECKING:
    from playwright.async_api import Browser, Playwright

VARIABLE = "TIDEMILL_CHROMIUM"
"""Environment variable: where Chromium is, if it is elsewhere."""
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
NOWHERE = "http://nowhere.invalid:9"
"""The proxy that Chromium is told of: what is not answered for it ends there, without a packet on any network."""
ARGUMENTS = (
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-remote-fonts",
    "--blink-settings=imagesEnabled=false",
    "--dns-prefetch-disable",
    "--mute-audio",
    "--no-first-run",
    "--no-pings",
    "--js-flags=--max-old-space-size=512",
    "--disable-features=WebTransport,SpeculationRulesPrefetch,Prerender2,OptimizationHints,MediaRouter,Translate",
)
START_MS = 30_000
END_SECONDS = 5.0
"""For an end in order; then it is killed."""
REMEDY = (
    "install Chromium (`apt-get install chromium`, or `playwright install chromium`), or say where it is in the "
    f"environment variable {VARIABLE}"
)

SANDBOX = ("sandbox", "zygote")
"""Chromium's words where it may not make the namespaces of its sandbox, which its first child, the zygote, lives in."""
SANDBOX_REMEDY = (
    "its sandbox needs namespaces of its own: in Compose by compose.browser.yaml, on Kubernetes by "
    "services.scraper.seccompProfile, on a machine by the sysctl that its message names"
)


class NoBrowser(FetchFailure):
    """The source wants a browser, and there is none on this machine."""

    slug = "browser"


class BrowserFailure(FetchFailure):
    """The browser ended, or a page was too much for it."""

    slug = "browser"
    retry = True


def find_chromium(own: Path | None = None) -> Path | None:
    """What the environment names, else Playwright's own (`own`) where that is installed, else the system's."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    if own is not None and own.is_file():
        return own
    return next((Path(found) for name in NAMES if (found := shutil.which(name))), None)


class Chromium:
    """One running browser. To be closed."""

    def __init__(self, playwright: "Playwright", browser: "Browser") -> None:
        self._playwright = playwright
        self.browser = browser
        self._driver = _driver()
        self._processes = [] if self._driver is None else _descendants(self._driver)

    @classmethod
    async def open(cls, *, window: bool = False) -> Self:
        """Raises NoBrowser."""
        try:
            from playwright.async_api import Error, async_playwright
        except ImportError:
            raise NoBrowser(
                "browser: true needs Playwright, which is not installed: `uv pip install 'tidemill-scraper[browser]'`, "
                f"and {REMEDY}"
            ) from None
        _adopt_orphans()
        playwright = await async_playwright().start()
        try:
            path = find_chromium(Path(playwright.chromium.executable_path))
            if path is None:
                raise NoBrowser(f"browser: true needs Chromium, and there is none on this machine: {REMEDY}")
            return cls(playwright, await playwright.chromium.launch(**_options(path, window=window)))
        except BaseException as error:
            await playwright.stop()
            if isinstance(error, Error):
                reason = _reason(error)
                remedy = SANDBOX_REMEDY if any(word in reason for word in SANDBOX) else REMEDY
                raise NoBrowser(f"Chromium does not start: {reason}; {remedy}") from None
            raise

    @property
    def runs(self) -> bool:
        """It, and the program between it and us."""
        return self.browser.is_connected() and (self._driver is None or _is_alive(self._driver))

    async def close(self) -> None:
        """Harmless for one that was killed."""
        from playwright.async_api import Error

        for end in (self.browser.close, self._playwright.stop):
            with suppress(Error, OSError, TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    await end()
        for process in (*self._processes, self._driver):
            with suppress(psutil.Error):
                if process is not None:
                    process.kill()  # Does nothing where it has ended.
        await reap()


def _options(path: Path, *, window: bool) -> dict[str, Any]:
    return {
        "executable_path": str(path),
        "headless": not window,
        "args": list(ARGUMENTS),
        "proxy": {"server": NOWHERE},
        # Chromium refuses to work for root with it.
        "chromium_sandbox": os.geteuid() != 0,
        # Signals are the service's, which closes the browser in order.
        "handle_sigint": False,
        "handle_sigterm": False,
        "handle_sighup": False,
        "timeout": START_MS,
    }


def _driver() -> psutil.Process | None:
    """Playwright's own program, which was started last."""
    found = [child for child in psutil.Process().children() if "run-driver" in _command(child)]
    return max(found, key=lambda child: child.create_time(), default=None)


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _adopt_orphans() -> None:
    """Helpers of Chromium whose parent has ended come to us and not to process 1, which in a container often takes no
    notice when they end."""
    if sys.platform == "linux":
        set_child_subreaper = 36
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


async def reap() -> None:
    """Take notice of helpers that have ended, and wait a moment for those that have not."""
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        helpers = [child for child in psutil.Process().children() if _is_helper(child)]
        for helper in helpers:
            with suppress(ChildProcessError):
                os.waitpid(helper.pid, os.WNOHANG)  # noqa: ASYNC222 - waits for nothing
        if not helpers:
            return
        await asyncio.sleep(0.02)


def _is_helper(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("chrom")
    except psutil.Error:
        return False


def _reason(error: Exception) -> str:
    """Playwright's first line, and what Chromium itself gave as its reason, which Playwright tells further down."""
    said = re.findall(r"\[err\] (.+)", str(error))
    own = next((line for line in said if "FATAL" in line), said[-1] if said else "")
    return ": ".join(filter(None, (str(error).strip().partition("\n")[0], own.strip())))
