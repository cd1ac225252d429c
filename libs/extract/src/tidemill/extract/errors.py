"""What can be wrong with rules, values and addresses."""


class InvalidRule(ValueError):
    """A rule that cannot work. Says which key is wrong and what would be right."""


class Unreadable(ValueError):
    """A text that is no value of the wanted type, or could be two. The message is the reason."""


class InvalidUrl(ValueError):
    """Not an address on the web."""


class RuleFailed(Exception):
    """A rule that does not come to a result on this page; the message is the reason."""
