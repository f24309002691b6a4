"""All targets, by name."""

from collections.abc import Mapping

from tests.fuzz import archives, dumps, evaluation, models, pages, records, tokens, web
from tests.fuzz.target import Target

_MODULES = (dumps, web, archives, pages, evaluation, tokens, records, models)

TARGETS: Mapping[str, Target] = {target.name: target for module in _MODULES for target in module.TARGETS}
