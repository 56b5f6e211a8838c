"""The exact answers, and how far the engines' are off them."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pandas as pd


class Truth:
    """The exact answers."""

    def __init__(self, folder: Path) -> None:
        patients = pd.read_parquet(folder / "patients.parquet")
        visits = pd.read_parquet(folder / "visits.parquet")
        age = patients.groupby("diagnosis")["age"]
        self.counts = age.size().to_dict()
        self.averages = age.mean().to_dict()
        self.departments = visits.groupby("department").size().to_dict()
        by_person = visits.groupby("patient_id")["length_of_stay"]
        self.forms = {
            "people": float(visits["patient_id"].nunique()),
            "variance": float(patients["age"].var()),
            "mean of means": float(by_person.mean().mean()),
            "mean of counts": float(by_person.size().mean()),
        }

    def figures(self, found: dict) -> dict:
        """What is shown of an engine's times and answers."""
        diagnosis = found["diagnosis"]
        counts = [{key: pair[0] for key, pair in answer.items()} for answer in diagnosis["answers"]]
        averages = [{key: pair[1] for key, pair in answer.items()} for answer in diagnosis["answers"]]
        return {
            "version": found["version"],
            "diagnosis": shown(diagnosis)
            | {"count_error": off(counts, self.counts), "average_error": off(averages, self.averages)},
            "departments": {
                label: shown(asked) | {"count_error": off(asked["answers"], self.departments)}
                for label, asked in found["departments"].items()
            },
            "forms": {
                name: answers if isinstance(answers, str) else statistics.median(answers)
                for name, answers in found["forms"].items()
            },
        }


def shown(asked: dict) -> dict[str, float]:
    """The first release is to warm up: its answer counts, its time does not."""
    seconds = asked["seconds"][1:] or asked["seconds"]
    return {"ms": statistics.median(seconds) * 1000, "releases": len(asked["answers"])}


def off(answers: list[dict[str, float]], truth: dict[str, float]) -> float:
    """The median of relative errors over all keys and releases. A key without a number is off by all of it."""
    found = ((answer.get(key), exact) for answer in answers for key, exact in truth.items())
    return statistics.median(1.0 if missing(got) else abs(got - exact) / abs(exact) for got, exact in found)


def missing(got: float | None) -> bool:
    return got is None or math.isnan(got)
