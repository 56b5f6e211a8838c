"""Kanon, a node of its own on the Parquet files, asked through the Postgres wire."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

import common
import data
from postgres import free_port

ADMIN = "root"
POLICY = "access = 'private', unit = 'patient_id', unit_kind = 'patient', min_cohort = 10, delta_per_query = 1e-8"
START_SECONDS = 120
# What bounds the visits of a person, in the order in which it is reset.
BOUNDS = ("max_groups_per_unit", "max_rows_per_group", "max_norm")


def program() -> Path:
    """$KANON, or the release build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", Path.home() / ".cache/kanon/target"))
    found = Path(os.environ.get("KANON", target / "release/kanon"))
    if not found.is_file():
        raise SystemExit(f"there is no {found}: cargo build --locked --release --workspace, or set KANON")
    return found


def domain(values: list[str]) -> str:
    return "'{" + ",".join(f'"{value}"' for value in values) + "}'"


class Kanon(common.Engine):
    bounds = {
        "default": "",
        "12 groups, 50 rows in each": "max_groups_per_unit = 12, max_rows_per_group = 50",
        "max_norm = 100": "max_norm = 100",
    }

    def __init__(self, folder: Path, people: int, database: str | None) -> None:
        kanon = program()
        self.program = kanon
        self.home = Path(tempfile.mkdtemp(prefix="kanon-compare-node-"))
        self.asked = 0
        self.bound: object = None
        password, port = secrets.token_hex(16), free_port()
        (self.home / "password").write_text(password)
        ports = ["--pg-port", str(port), "--flight-port", str(free_port())]
        init = [kanon, "init", "--node-id", "clinic", "--admin", ADMIN, "--dir", self.home, *ports]
        subprocess.run([*init, "--password-file", self.home / "password"], check=True, stdout=subprocess.DEVNULL)
        with open(self.home / "log", "wb") as log:
            serve = [kanon, "serve", "--config", self.home / "kanon.toml"]
            self.node = subprocess.Popen(serve, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        atexit.register(self.close)
        self.connection = self.connect(port, password)
        for table in ("patients", "visits"):
            self.run(f"CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{folder.resolve()}/{table}.parquet'")
        self.run("CREATE PRIVACY UNIT patient WITH (budget_epsilon = 1000000, budget_delta = 1e-3)")
        self.run(f"ALTER TABLE patients SET ({POLICY}, unit_unique = true, epsilon_per_query = {common.EPSILON_DIAGNOSIS})")
        self.run(f"ALTER TABLE visits SET ({POLICY}, epsilon_per_query = {common.EPSILON_FORM})")
        self.run("ALTER TABLE patients ALTER COLUMN age SET (lower = {}, upper = {})".format(*data.AGE))
        self.run("ALTER TABLE visits ALTER COLUMN length_of_stay SET (lower = {}, upper = {})".format(*data.STAY))
        self.run(f"ALTER TABLE patients ALTER COLUMN diagnosis SET (domain = {domain(data.DIAGNOSES)})")
        self.run(f"ALTER TABLE visits ALTER COLUMN department SET (domain = {domain(data.DEPARTMENTS)})")

    def version(self) -> str:
        return subprocess.run([self.program, "--version"], check=True, capture_output=True, text=True).stdout.split()[-1]

    def connect(self, port: int, password: str) -> psycopg.Connection:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                where = {"host": "127.0.0.1", "port": port, "dbname": "kanon", "user": ADMIN, "password": password}
                return psycopg.connect(**where, autocommit=True)
            except psycopg.OperationalError:
                if self.node.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"the node does not start: {(self.home / 'log').read_text()[-2000:]}") from None
                time.sleep(0.1)

    def close(self) -> None:
        self.node.terminate()
        self.node.wait(timeout=60)
        shutil.rmtree(self.home)

    def run(self, sql: str) -> list[tuple]:
        found = self.connection.execute(sql)
        return found.fetchall() if found.description else []

    def fresh(self, column: str, upper: int) -> str:
        """A condition that all rows meet, another one each time: the same question would be answered from the store."""
        self.asked += 1
        return f"{column} < {upper + self.asked}"

    def by_diagnosis(self) -> dict[str, tuple[float, float]]:
        everybody = self.fresh("age", data.AGE[1])
        rows = self.run(f"SELECT diagnosis, count(age), avg(age) FROM patients WHERE {everybody} GROUP BY diagnosis")
        return {key: (n, float(average)) for key, n, average in rows}

    def by_department(self, bound: object) -> dict[str, float]:
        if bound != self.bound:
            for option in BOUNDS:
                self.run(f"ALTER TABLE visits RESET ({option})")
            if bound:
                self.run(f"ALTER TABLE visits SET ({bound})")
            self.run(f"SET kanon.epsilon = {common.EPSILON_DEPARTMENT}")
            self.bound = bound
        every = self.fresh("length_of_stay", data.STAY[1])
        return dict(self.run(f"SELECT department, count(*) FROM visits WHERE {every} GROUP BY department"))

    def form(self, name: str) -> float:
        self.run(f"SET kanon.epsilon = {common.EPSILON_FORM}")
        column, upper = ("age", data.AGE[1]) if name == "variance" else ("length_of_stay", data.STAY[1])
        table = "patients" if name == "variance" else "visits"
        sql = common.FORMS[name].replace(f"FROM {table}", f"FROM {table} WHERE {self.fresh(column, upper)}")
        sql = sql.replace("variance(", "var_samp(")
        try:
            return float(self.run(sql)[0][0])
        except psycopg.Error as refusal:
            raise common.Refused(f"{refusal.sqlstate} {refusal.diag.message_primary}") from refusal


if __name__ == "__main__":
    common.main(Kanon)
