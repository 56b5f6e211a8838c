"""What every engine is asked, and at which cost. An engine's module ends with `common.main(Engine)`, which writes its times and answers."""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Callable

# Ages are all there, so that count(age) is count(*): asked so, no engine needs a second count for the average.
DELTA = 1e-8
EPSILON_DIAGNOSIS = 1.0
EPSILON_DEPARTMENT = 0.5
EPSILON_FORM = 1.0

# Forms that an engine must answer right or refuse; the name that `Engine.form` is given, and the SQL.
FORMS = {
    "people": "SELECT count(DISTINCT patient_id) AS x FROM visits",
    "variance": "SELECT variance(age) AS x FROM patients",
    "mean of means": (
        "SELECT avg(s) AS x FROM (SELECT patient_id, avg(length_of_stay) AS s FROM visits GROUP BY patient_id) AS p"
    ),
    "mean of counts": "SELECT avg(s) AS x FROM (SELECT patient_id, count(*) AS s FROM visits GROUP BY patient_id) AS p",
}


class Refused(Exception):
    """The engine says that it does not answer this."""


class Engine:
    """One engine with the tables loaded as it wants them. Every answer is a new release at the whole cost of its question."""

    # The package of the engine.
    package: str
    # How contributions of visits are bounded: what is shown, and what `by_department` is given.
    bounds: dict[str, object]
    def __init__(self, folder: Path, people: int, database: str | None) -> None:
        raise NotImplementedError

    def version(self) -> str:
        """Shown beside its name."""
        return version(self.package)

    def by_diagnosis(self) -> dict[str, tuple[float, float]]:
        """count(age) and avg(age) of patients by diagnosis."""
        raise NotImplementedError

    def by_department(self, bound: object) -> dict[str, float]:
        """count(*) of visits by department."""
        raise NotImplementedError

    def form(self, name: str) -> float:
        """One of FORMS."""
        raise NotImplementedError


def asked(ask: Callable[[], object], releases: int, runs: int, seconds: float) -> dict[str, list]:
    """Releases of one question, one after the other, until there are enough or the time is up."""
    answers, times = [], []
    began = time.perf_counter()
    while len(answers) < releases:
        start = time.perf_counter()
        answers.append(ask())
        times.append(time.perf_counter() - start)
        if time.perf_counter() - began > seconds and len(times) > runs:
            break
    if any(answer == answers[0] for answer in answers[1:]):
        raise SystemExit("two releases were the same: they were not fresh")
    return {"answers": answers, "seconds": times}


def formed(engine: Engine, name: str) -> list[float] | str:
    """A few answers to a form, or why there are none."""
    try:
        return [engine.form(name) for _ in range(3)]
    except Refused as refusal:
        return f"refused: {refusal}"


def main(kind: type[Engine]) -> None:
    """Asks one engine everything. What it prints is of no interest."""
    arguments = argparse.ArgumentParser()
    for name in ("folder", "database", "out"):
        arguments.add_argument(f"--{name}", required=True)
    for name in ("people", "releases", "runs"):
        arguments.add_argument(f"--{name}", type=int, required=True)
    arguments.add_argument("--seconds", type=float, required=True)
    given = arguments.parse_args()
    limits = (given.releases, given.runs, given.seconds)
    engine = kind(Path(given.folder), given.people, given.database or None)
    found = {
        "version": engine.version(),
        "diagnosis": asked(engine.by_diagnosis, *limits),
        "departments": {label: asked(lambda: engine.by_department(bound), *limits) for label, bound in engine.bounds.items()},
        "forms": {name: formed(engine, name) for name in FORMS},
    }
    Path(given.out).write_text(json.dumps(found))
