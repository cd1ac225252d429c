"""What a person does about each class of failure."""

from collections.abc import Mapping

TEST = "`tidemill source test` shows what the rules make of the page"
BY_ITSELF = "it is tried again by itself"

REMEDIES: Mapping[str, str] = {
    "network": f"The host could not be reached: {BY_ITSELF}; if it goes on, open the example in a browser.",
    "proxy": "The proxy refused or was away: look at `proxy` of the source.",
    "timeout": f"The host was too slow: {BY_ITSELF}; if it goes on, lower `politeness.rate`.",
    "http": "The host answered with an error: look at the example; the source may want another address.",
    "blocked": "The host refuses us: leave it alone for a day, lower `politeness.rate`, or ask its owner for leave.",
    "robots": "robots.txt forbids these pages: take them out of the source, or ask the site's owner.",
    "robots_unreachable": f"robots.txt could not be read, so nothing was asked: {BY_ITSELF}.",
    "redirect_loop": "The host sends us in circles: look at the example in a browser; it may want a session.",
    "not_found": "What a link leads to is not there: the site may have changed its addresses.",
    "not_published": "It was not published in its time: look at the site; the source's window may be wrong.",
    "nothing_matches": "No link fits the source's pattern: look at the index page; the site may name its files anew.",
    "too_large": "It is larger than the source allows: raise its limit, or leave it out.",
    "too_small": "It is smaller than a document of this source can be: look at what came instead.",
    "not_what_it_should_be": "Another kind of file came than the source expects: look at the example.",
    "wrong_type": "Another kind of file came than the source expects: look at the example.",
    "checksum": f"The bytes are not those that were published: {BY_ITSELF}.",
    "private_address": "The address leads into a private network: `politeness.allow_private` allows it, if it should.",
    "url": "The address cannot be asked: mend it in the source, or the rule that found it.",
    "secret": "A secret of the source cannot be read: `tidemill config check` names it.",
    "session": "The site gave no session: look at `session` of the source.",
    "browser": "The browser failed: `tidemill doctor` says whether it is installed.",
    "parse": f"Required fields were not found: {TEST}.",
    "missing": f"Required fields were not found: {TEST}; mend the rules, then `tidemill reconvert`.",
    "layout_changed": f"The site looks otherwise than the rules expect: {TEST}; mend them, then `tidemill reconvert`.",
    "result_cap": "The portal shows no more results than these: split the search of the source.",
    "over_budget": "More was due than a run may ask for: raise the source's budget, or let the next run go on.",
    "breaker_open": f"The host failed too often and is left alone for a while: {BY_ITSELF}.",
    "budget_spent": "The day's requests to the host are spent: wait, or raise `politeness.daily_budget`.",
    "limiter_unavailable": "The limits of hosts could not be asked (Redis?): nothing is fetched until they can.",
    "incomplete": "Records were found, and some are known to be missing: look at the document.",
    "empty": "The document holds nothing: look at what the site shows there.",
    "encrypted": "The document is locked by a password: ask its publisher for one without.",
    "truncated": "The document ends in the middle: have it fetched again by `tidemill runs retry`.",
    "unreadable": "The document is broken: have it fetched again by `tidemill runs retry`.",
    "scanned": "The document holds pictures of text, which nobody can read here: ask its publisher for text.",
    "unrecognised": "The converter does not know this layout: look at the document; the converter has to learn it.",
    "ambiguous": "The document says two things about itself: look at it, and decide which is right.",
    "resource_limit": "Converting it took more memory or time than it may: raise the limits of conversion.",
    "crashed": "The converter failed, which is a defect: `tidemill dead-letters list` has what it said.",
    "given_up": "It failed too often and is asked no more: `tidemill targets` shows it.",
    "source_gone": "Its source file was taken away while it ran.",
    "start_by": "Nobody took the run in time: `tidemill status` shows which services run.",
    "not_started": "Nobody took the run in time: `tidemill status` shows which services run.",
    "timed_out": "It took longer than it may: find out what is slow, or raise `run.time_limit`.",
    "cancelled": "Somebody cancelled it: `tidemill audit` shows who.",
    "exhausted": "It failed at every attempt: `tidemill dead-letters list` shows why, and replays it.",
    "poison": "It can never be handled as it is: `tidemill dead-letters list` shows why.",
    "invalid": "A message could not be read: `tidemill dead-letters list` shows it.",
}
OTHERWISE = "`tidemill runs show RUN` tells what happened to each item."


def remedy(failure: str) -> str:
    return REMEDIES.get(failure, OTHERWISE)
