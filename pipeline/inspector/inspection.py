"""What the inspector's pages are made from."""

from dataclasses import dataclass

from pipeline.inspector.catalogue.catalogue import Catalogue
from pipeline.inspector.judging.labels import Labels
from pipeline.runs import Folder


@dataclass(frozen=True, slots=True)
class Inspection:
    """A run that is looked into: its tables, and the labels that a person gives its documents."""

    run: Folder
    catalogue: Catalogue
    labels: Labels
