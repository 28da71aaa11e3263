"""One query a criterion: from artefacts to a measured value. `QUERIES[criterion id]`."""

from expedition.programme.criteria import clusters, data, design, evaluation, money, poc, releases, runs
from expedition.programme.evidence import Query

QUERIES: dict[str, Query] = {
    **design.QUERIES,
    **poc.QUERIES,
    **data.QUERIES,
    **clusters.QUERIES,
    **runs.QUERIES,
    **evaluation.QUERIES,
    **releases.QUERIES,
    **money.QUERIES,
}
