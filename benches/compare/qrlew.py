"""qrlew (pyqrlew) on PostgreSQL. What it is given is the total, which its rewriting divides over the mechanisms."""

from __future__ import annotations

from pathlib import Path

import pyqrlew
import sqlalchemy

import common
import data

UNIT = [("patients", [], "patient_id"), ("visits", [], "patient_id")]
BY_DIAGNOSIS = "SELECT diagnosis, count(age) AS n, avg(age) AS a FROM patients GROUP BY diagnosis"
BY_DEPARTMENT = "SELECT department, count(*) AS n FROM visits GROUP BY department"


class Qrlew(common.Engine):
    package = "pyqrlew"
    bounds = {
        "default": {},
        "mean: max_multiplicity 5": {"max_multiplicity": 5},
        f"most: max_multiplicity {data.MOST_VISITS}": {"max_multiplicity": data.MOST_VISITS, "max_multiplicity_share": 1},
    }

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

    def rows(self, sql: str, epsilon: float, **bounds) -> list:
        cost = {"epsilon": epsilon, "delta": common.DELTA}
        rewritten = self.tables.relation(sql).rewrite_with_differential_privacy(self.tables, UNIT, cost, **bounds)
        with self.engine.connect() as connection:
            return connection.execute(sqlalchemy.text(rewritten.relation().to_query())).all()

    def by_diagnosis(self) -> dict[str, tuple[float, float]]:
        return {key: (n, float(a)) for key, n, a in self.rows(BY_DIAGNOSIS, common.EPSILON_DIAGNOSIS)}

    def by_department(self, bound: object) -> dict[str, float]:
        return {key: n for key, n in self.rows(BY_DEPARTMENT, common.EPSILON_DEPARTMENT, **bound)}

    def form(self, name: str) -> float:
        try:
            return float(self.rows(common.FORMS[name], common.EPSILON_FORM)[0][0])
        except BaseException as refusal:  # A panic of its library is no Exception.
            if isinstance(refusal, (KeyboardInterrupt, SystemExit)):
                raise
            raise common.Refused((str(refusal).splitlines() or ["no reason"])[0]) from refusal


if __name__ == "__main__":
    common.main(Qrlew)
