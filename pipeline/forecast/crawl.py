"""How long fetching takes, by the schedule of the links that the sample stands for."""

import math
from dataclasses import dataclass

import pyarrow as pa

from pipeline.config import FetchSettings
from pipeline.fetch.schedule import Schedule, schedule
from pipeline.forecast.links import Above
from pipeline.forecast.ranges import Range, Z

_MACHINES = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Crawl:
    """A crawl to be: hours with the machines that are given, what limits them, and what else is asked.

    ``by_machines`` is the hours, as likely, with so many machines; ``rescue_h`` what archives take besides.
    """

    machines: int
    hours: Range
    schedule: Schedule
    by_machines: dict[int, float]
    rescue_h: Range | None


def foresee_crawl(
    above: Above, domains: pa.Array, settings: FetchSettings, machines: int, dead: Range
) -> Crawl:
    """Hours of fetching; a domain is in one part, so it is on one machine, and machines share the domains.

    Args:
        above: The links.
        domains: The names of their domains.
        settings: The manners.
        machines: How many there are; the delays are one domain's, whoever asks.
        dead: The share of links that nothing answers, each of which may be asked ``settings.tries`` times.
    """
    places, links = above.by_domain()
    names = domains.take(pa.array(places))
    found = schedule(names, links, _with(settings, machines))
    hours = found.courses[0].seconds[1.0] / 3600
    number = above.number()
    # The longest queue is known as well as its links in the sample are many.
    few = float(links.max(initial=1)) / above.growth
    chance = 1.0 if above.growth <= 1.0 else math.exp(Z / math.sqrt(max(1.0, few)))
    low, high = (number.low / number.likely, number.high / number.likely) if number.likely else (1.0, 1.0)
    again = 1 + dead.high * (settings.tries - 1)
    return Crawl(
        machines=machines,
        hours=Range(hours * low / chance, hours, hours * high * chance * again),
        schedule=found,
        by_machines={
            count: schedule(names, links, _with(settings, count)).courses[0].seconds[1.0] / 3600
            for count in sorted({*_MACHINES, machines})
        },
        rescue_h=_rescue(settings, number, dead),
    )


def _with(settings: FetchSettings, machines: int) -> FetchSettings:
    return settings.model_copy(update={"processes": settings.processes * machines})


def _rescue(settings: FetchSettings, links: Range, dead: Range) -> Range | None:
    if not settings.rescue:
        return None
    delays = {"wayback": settings.wayback.delay_s, "commoncrawl": settings.commoncrawl.delay_s}
    first = delays[settings.rescue[0]]
    # Every dead link is asked of the first archive, and at the worst of each, twice: index and capture.
    worst = 2 * sum(delays[name] for name in settings.rescue)
    return Range(
        links.low * dead.low * first / 3600,
        links.likely * dead.likely * 2 * first / 3600,
        links.high * dead.high * worst / 3600,
    )
