"""What a domain implements: converters, datasets, vocabularies and enrichers, found by entry point."""

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
from tidemill.plugin.enrichment import Enricher, Enrichment, Located, References, Subject
from tidemill.plugin.reporting import Aggregate, Breakdown, Counted, Figure, Movement, Reporting, Tally
from tidemill.plugin.vocabulary import Candidate, KnownName, Resolution, Resolver, Vocabulary

__all__ = [
    "API_VERSION",
    "Accounting",
    "Aggregate",
    "Breakdown",
    "Candidate",
    "Converter",
    "Counted",
    "Dataset",
    "Described",
    "Document",
    "Enricher",
    "Enrichment",
    "Figure",
    "Item",
    "KnownName",
    "Located",
    "Movement",
    "NameField",
    "Options",
    "Outcome",
    "Position",
    "Progress",
    "Record",
    "References",
    "Refusal",
    "Rejected",
    "Rejection",
    "Reporting",
    "Resolution",
    "Resolver",
    "Subject",
    "Tally",
    "Vocabulary",
]
