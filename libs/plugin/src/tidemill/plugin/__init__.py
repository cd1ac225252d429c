"""What a domain implements: converters, datasets and vocabularies, found by entry point."""

from tidemill.plugin.conversion import (
    API_VERSION,
    Accounting,
    Converter,
    Described,
    Document,
    Item,
    Options,
    Outcome,
    Position,
    Progress,
    Record,
    Refusal,
    Rejected,
    Rejection,
)
from tidemill.plugin.dataset import Dataset, NameField
from tidemill.plugin.vocabulary import Candidate, KnownName, Resolution, Resolver, Vocabulary

__all__ = [
    "API_VERSION",
    "Accounting",
    "Candidate",
    "Converter",
    "Dataset",
    "Described",
    "Document",
    "Item",
    "KnownName",
    "NameField",
    "Options",
    "Outcome",
    "Position",
    "Progress",
    "Record",
    "Refusal",
    "Rejected",
    "Rejection",
    "Resolution",
    "Resolver",
    "Vocabulary",
]
