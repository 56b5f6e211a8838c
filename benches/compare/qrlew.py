"""qrlew (pyqrlew) on PostgreSQL, with the bounds that it chooses by itself.

Each of its Gaussian mechanisms is calibrated to the whole epsilon that it is given: what it is given is searched so that the event which
it reports costs the total, by the exact curve of composed Gaussians.
"""

from __future__ import annotations

import math
from pathlib import Path

import pyqrlew
import sqlalchemy

import common
import data

UNIT = [("patients", [], "patient_id"), ("visits", [], "patient_id")]
BY_DIAGNOSIS = "SELECT diagnosis, count(age) AS n, avg(age) AS a FROM patients GROUP BY diagnosis"
BY_DEPARTMENT = "SELECT department, count(*) AS n FROM visits GROUP BY department"


def multipliers(event: dict) -> list[float]:
    """The noise multipliers of an event that is made of Gaussians only."""
    name = event["class_name"]
    if name == "GaussianDpEvent":
        return [event["noise_multiplier"]]
    if name == "ComposedDpEvent":
        return [m for inner in event["events"] for m in multipliers(inner)]
    if name == "NoOpDpEvent":
        return []
    raise ValueError(f"{name} is not accounted for here")


def delta_of(event: dict, epsilon: float) -> float:
    """The least delta of the event at this epsilon: several Gaussians are one (Balle and Wang 2018, theorem 8)."""
    mu = math.sqrt(sum(m**-2 for m in multipliers(event)))
    normal = lambda z: math.erfc(-z / math.sqrt(2)) / 2
    return normal(mu / 2 - epsilon / mu) - math.exp(epsilon) * normal(-mu / 2 - epsilon / mu)


class Qrlew(common.Engine):
    package = "pyqrlew"
    bounds = {"default": None}

    def __init__(self, folder: Path, people: int, database: str | None) -> None:
        if database is None:
            raise SystemExit("it needs PostgreSQL 15, which scripts/clients installs")
        given = dict(part.split("=", 1) for part in database.split())
        address = f"postgresql+psycopg2://{given['user']}@{given['host']}:{given['port']}/{given['dbname']}"
        self.engine = sqlalchemy.create_engine(address)
        tables = pyqrlew.Dataset.from_database(name="hospital", engine=self.engine)
        tables = tables.patients.age.with_range(*data.AGE)
        tables = tables.patients.diagnosis.with_possible_values(data.DIAGNOSES)
        tables = tables.patients.patient_id.with_unique_constraint()
        tables = tables.visits.department.with_possible_values(data.DEPARTMENTS)
        self.tables = tables.visits.length_of_stay.with_range(*data.STAY)
        self.given: dict[str, float] = {}

    def rewritten(self, sql: str, epsilon: float):
        cost = {"epsilon": epsilon, "delta": common.DELTA}
        return self.tables.relation(sql).rewrite_with_differential_privacy(self.tables, UNIT, cost)

    def epsilon(self, sql: str, total: float) -> float:
        """The largest that may be given."""
        if sql not in self.given:
            low, high = 0.0, 2 * total
            while high - low > 1e-4 * total:
                middle = (low + high) / 2
                fits = delta_of(self.rewritten(sql, middle).dp_event().to_dict(), total) <= common.DELTA
                low, high = (middle, high) if fits else (low, middle)
            self.given[sql] = low
        return self.given[sql]

    def rows(self, sql: str, total: float) -> list:
        private = self.rewritten(sql, self.epsilon(sql, total)).relation().to_query()
        with self.engine.connect() as connection:
            return connection.execute(sqlalchemy.text(private)).all()

    def by_diagnosis(self) -> dict[str, tuple[float, float]]:
        return {key: (n, float(a)) for key, n, a in self.rows(BY_DIAGNOSIS, common.EPSILON_DIAGNOSIS)}

    def by_department(self, bound: object) -> dict[str, float]:
        return {key: n for key, n in self.rows(BY_DEPARTMENT, common.EPSILON_DEPARTMENT)}

    def form(self, name: str) -> float:
        try:
            return float(self.rows(common.FORMS[name], common.EPSILON_FORM)[0][0])
        except BaseException as refusal:  # A panic of its library is no Exception.
            if isinstance(refusal, (KeyboardInterrupt, SystemExit)):
                raise
            raise common.Refused((str(refusal).splitlines() or ["no reason"])[0]) from refusal


if __name__ == "__main__":
    common.main(Qrlew)
