"""OpenDP's Polars API, the tables in memory. Laplace noise: at these costs it errs less than its Gaussian noise does."""

from __future__ import annotations

import warnings
from pathlib import Path

import opendp.prelude as dp
import polars as pl

import common
import data


def keys(column: str, values: list[str]) -> pl.LazyFrame:
    return pl.LazyFrame({column: values})


class OpenDP(common.Engine):
    package = "opendp"
    # It has no default: the rows that are kept of a person must be said.
    bounds = {"least: 1 row": 1, "mean: 5 rows": 5, f"most: {data.MOST_VISITS} rows": data.MOST_VISITS}

    def __init__(self, folder: Path, people: int, database: str | None) -> None:
        warnings.simplefilter("ignore")
        dp.enable_features("contrib")
        self.patients = pl.read_parquet(folder / "patients.parquet")
        self.visits = pl.read_parquet(folder / "visits.parquet")

    def query(self, table: pl.DataFrame, epsilon: float, by: list[str], identifier: str | None = None):
        identified = {} if identifier is None else {"identifier": pl.col(identifier)}
        return dp.Context.compositor(
            data=table.lazy(),
            privacy_unit=dp.unit_of(contributions=1, **identified),
            privacy_loss=dp.loss_of(epsilon=epsilon, delta=common.DELTA),
            split_evenly_over=1,
            margins=[dp.polars.Margin(by=by, max_length=len(table))],
        ).query()

    def by_diagnosis(self) -> dict[str, tuple[float, float]]:
        # Sum and length instead of its mean, which would ask the length a second time.
        query = self.query(self.patients, common.EPSILON_DIAGNOSIS, ["diagnosis"]).group_by("diagnosis")
        query = query.agg(dp.len(signed=True).alias("n"), pl.col("age").fill_null(0).dp.sum(data.AGE).alias("s"))
        found = query.with_keys(keys("diagnosis", data.DIAGNOSES)).release().collect()
        return {key: (n, s / max(n, 1)) for key, n, s in found.select("diagnosis", "n", "s").iter_rows()}

    def by_department(self, bound: object) -> dict[str, float]:
        query = self.query(self.visits, common.EPSILON_DEPARTMENT, ["department"], "patient_id")
        query = query.truncate_per_group(bound).group_by("department").agg(dp.len(signed=True).alias("n"))
        return dict(query.with_keys(keys("department", data.DEPARTMENTS)).release().collect().iter_rows())

    def form(self, name: str) -> float:
        if name != "people":
            raise common.Refused("no such statistic")
        query = self.query(self.visits, common.EPSILON_FORM, [], "patient_id").truncate_per_group(1)
        return float(query.select(pl.col("patient_id").dp.n_unique(signed=True)).release().collect().item())


if __name__ == "__main__":
    common.main(OpenDP)
