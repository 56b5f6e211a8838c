"""smartnoise-sql on PostgreSQL.

Its epsilon is for each statistic, not for the statement: what it is given is searched so that its own accountant says the total.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import psycopg2
from snsql import Privacy, from_connection

import common
import data

PATIENTS = {
    "row_privacy": True,
    "patient_id": {"type": "int"},
    "age": {"type": "int", "lower": data.AGE[0], "upper": data.AGE[1]},
    "sex": {"type": "string"},
    "diagnosis": {"type": "string"},
}
VISITS = {
    "visit_id": {"type": "int"},
    "patient_id": {"type": "int", "private_id": True},
    "department": {"type": "string"},
    "length_of_stay": {"type": "int", "lower": data.STAY[0], "upper": data.STAY[1]},
}
BY_DIAGNOSIS = "SELECT diagnosis, COUNT(age) AS n, AVG(age) AS a FROM public.patients GROUP BY diagnosis"
BY_DEPARTMENT = "SELECT department, COUNT(*) AS n FROM public.visits GROUP BY department"


class Smartnoise(common.Engine):
    package = "smartnoise-sql"
    bounds = {"default: max_ids 1": 1, "mean: max_ids 5": 5, f"most: max_ids {data.MOST_VISITS}": data.MOST_VISITS}

    def __init__(self, folder: Path, people: int, database: str | None) -> None:
        if database is None:
            raise SystemExit("it needs PostgreSQL 15, which scripts/clients installs")
        warnings.simplefilter("ignore")
        self.connection = psycopg2.connect(database)
        self.people = people
        self.readers: dict[tuple[str, int], object] = {}

    def reader(self, sql: str, total: float, most: int = 1):
        """A reader whose accountant says at most the total for this statement."""
        key = (sql, most)
        if key not in self.readers:
            # The keys are public, so none is censored.
            tables = {"patients": PATIENTS, "visits": VISITS | {"max_ids": most}}
            tables = {name: {"rows": self.people, "censor_dims": False} | table for name, table in tables.items()}
            made = lambda epsilon: from_connection(
                self.connection, privacy=Privacy(epsilon=epsilon), metadata={"": {"public": tables}}, engine="postgres"
            )
            low, high = 0.0, total
            if made(total).get_privacy_cost(sql)[0] <= total:
                low = total
            while high - low > 1e-4 * total:
                middle = (low + high) / 2
                low, high = (middle, high) if made(middle).get_privacy_cost(sql)[0] <= total else (low, middle)
            self.readers[key] = made(low)
            epsilon, delta = self.readers[key].get_privacy_cost(sql)
            assert epsilon <= total and delta <= common.DELTA, (epsilon, delta)
        return self.readers[key]

    def by_diagnosis(self) -> dict[str, tuple[float, float]]:
        rows = self.reader(BY_DIAGNOSIS, common.EPSILON_DIAGNOSIS).execute(BY_DIAGNOSIS)[1:]
        return {key: (count, average) for key, count, average in rows}

    def by_department(self, bound: object) -> dict[str, float]:
        return dict(self.reader(BY_DEPARTMENT, common.EPSILON_DEPARTMENT, int(bound)).execute(BY_DEPARTMENT)[1:])

    def form(self, name: str) -> float:
        sql = common.FORMS[name].replace("FROM visits", "FROM public.visits").replace("FROM patients", "FROM public.patients")
        try:
            return float(self.reader(sql, common.EPSILON_FORM, 5).execute(sql)[1][0])
        except Exception as refusal:
            raise common.Refused(str(refusal).splitlines()[0]) from refusal


if __name__ == "__main__":
    common.main(Smartnoise)
