"""pipeline-dp with its local backend, the rows in a list. Its costs are totals already."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pipeline_dp

import common
import data

Metrics = pipeline_dp.Metrics
ONE = {"max_partitions_contributed": 1, "max_contributions_per_partition": 1}


class PipelineDP(common.Engine):
    package = "pipeline-dp"
    # It has no default: the rows that are kept of a person must be said.
    bounds = {"least: 1 row": 1, "mean: 5 rows": 5, f"most: {data.MOST_VISITS} rows": data.MOST_VISITS}

    def __init__(self, folder: Path, people: int, database: str | None) -> None:
        patients = pd.read_parquet(folder / "patients.parquet")
        visits = pd.read_parquet(folder / "visits.parquet")
        plain = lambda table, columns: list(zip(*(table[name].tolist() for name in columns)))
        self.patients = plain(patients, ("patient_id", "diagnosis", "age"))
        self.visits = plain(visits, ("patient_id", "department", "length_of_stay"))

    def ask(self, rows: list, key: int | None, keys: list, epsilon: float, once: bool, **parameters) -> dict:
        """With `once` nobody has a second row, and nothing needs to be bounded."""
        budget = pipeline_dp.NaiveBudgetAccountant(total_epsilon=epsilon, total_delta=common.DELTA)
        extractors = pipeline_dp.DataExtractors(
            privacy_id_extractor=None if once else lambda row: row[0],
            partition_extractor=(lambda row: 0) if key is None else lambda row: row[key],
            value_extractor=lambda row: row[2],
        )
        wanted = pipeline_dp.AggregateParams(contribution_bounds_already_enforced=once, **parameters)
        engine = pipeline_dp.DPEngine(budget, pipeline_dp.LocalBackend())
        found = engine.aggregate(rows, wanted, extractors, public_partitions=keys)
        budget.compute_budgets()
        return dict(found)

    def by_diagnosis(self) -> dict[str, tuple[float, float]]:
        ages = {"min_value": data.AGE[0], "max_value": data.AGE[1]}
        metrics = [Metrics.COUNT, Metrics.MEAN]
        found = self.ask(
            self.patients, 1, data.DIAGNOSES, common.EPSILON_DIAGNOSIS, True, metrics=metrics, **ONE, **ages
        )
        return {key: (value.count, value.mean) for key, value in found.items()}

    def by_department(self, bound: object) -> dict[str, float]:
        limits = {"metrics": [Metrics.COUNT], "max_contributions": bound}
        found = self.ask(self.visits, 1, data.DEPARTMENTS, common.EPSILON_DEPARTMENT, False, **limits)
        return {key: value.count for key, value in found.items()}

    def form(self, name: str) -> float:
        if name == "people":
            found = self.ask(self.visits, None, [0], common.EPSILON_FORM, False, metrics=[Metrics.PRIVACY_ID_COUNT], **ONE)
            return found[0].privacy_id_count
        if name == "variance":
            ages = {"min_value": data.AGE[0], "max_value": data.AGE[1]}
            metrics = [Metrics.VARIANCE]
            return self.ask(self.patients, None, [0], common.EPSILON_FORM, True, metrics=metrics, **ONE, **ages)[0].variance
        raise common.Refused("no such statistic")


if __name__ == "__main__":
    common.main(PipelineDP)
