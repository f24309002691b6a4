"""What the inspector's pages are made from."""

from dataclasses import dataclass

from pipeline.inspector.catalogue import Catalogue
from pipeline.inspector.labels import Labels
from pipeline.runs import Folder


@dataclass(frozen=True, slots=True)
class Inspection:
    """A run that is looked into: its tables, and the labels that a person gives its documents."""

    run: Folder
    catalogue: Catalogue
    labels: Labels

    @property
    def name(self) -> str:
        """The last piece of the run's path: the page may be shown to others, whose machine is another."""
        return self.run.uri.rstrip("/").rsplit("/", 1)[-1]
