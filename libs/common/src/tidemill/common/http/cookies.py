"""Cookies of one source: those it is given, and those that its hosts set; told to its hosts alone."""

from collections.abc import Iterable, Mapping

from tidemill.common.http.wire import URL, Headers, Jar, host_of, parse_url


class Cookies:
    """In memory: whoever keeps it, keeps the cookies."""

    def __init__(self, hosts: Iterable[str], given: Mapping[str, str] | None = None, *, keep: bool = True) -> None:
        """`hosts` as `host_of` names them; `www.` before them makes no difference. `keep`: whether what is set by
        answers is told with later requests."""
        self._hosts = frozenset(_plain(host) for host in hosts)
        self._given = dict(given or {})
        self._jar = Jar() if keep else None
        self._over: dict[str, str] = {}

    def giving(self, pairs: Mapping[str, str]) -> "Cookies":
        """The same with these given, and what is kept shared."""
        return self._changed(pairs, self._over)

    def over(self, pairs: Mapping[str, str]) -> "Cookies":
        """The same with these, which count more than what is kept, and that shared."""
        return self._changed(self._given, pairs)

    def _changed(self, given: Mapping[str, str], over: Mapping[str, str]) -> "Cookies":
        other = Cookies(())
        other._hosts, other._jar, other._given, other._over = self._hosts, self._jar, dict(given), dict(over)
        return other

    def belongs(self, url: URL | str) -> bool:
        """Whether an address is at one of the source's hosts."""
        return _plain(host_of(url)) in self._hosts

    def pairs(self, url: URL | str) -> dict[str, str]:
        """What is told to this address."""
        url = parse_url(url) if isinstance(url, str) else url
        if not self.belongs(url):
            return {}
        kept = self._jar.header(url) if self._jar is not None else ""
        told = (each.partition("=") for each in kept.split("; ") if each)
        return self._given | {name: value for name, _, value in told} | self._over

    def take(self, url: URL, headers: Headers) -> None:
        """Keep what an answer from there sets."""
        if self._jar is not None and "set-cookie" in headers and self.belongs(url):
            self._jar.take(url, headers)


def _plain(host: str) -> str:
    return host.removeprefix("www.")
