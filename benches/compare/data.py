"""The tables of the comparison: the same for every engine and on every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

SEED = 20_260_101
DIAGNOSES = [f"D{number:02}" for number in range(50)]
DEPARTMENTS = [
    "cardiology", "dermatology", "emergency", "endocrinology", "gastroenterology", "internal medicine",
    "neurology", "oncology", "ophthalmology", "orthopaedics", "psychiatry", "surgery",
]  # fmt: skip
SEXES = ["female", "male"]
AGE = (0, 110)
STAY = (0, 60)
MOST_VISITS = 500
# Rows in a row group: so many as let several cores read a file.
ROW_GROUP = 131_072


def patients(people: int) -> pd.DataFrame:
    """One row a person. The share of the n-th diagnosis falls by a tenth each time."""
    random = np.random.default_rng([SEED, people, 0])
    age = np.minimum(random.random((people, 3)).mean(axis=1) * 104 + 2, AGE[1]).astype(np.int64)
    sex = np.where(random.random(people) < 0.51, SEXES[0], SEXES[1])
    skewed = np.log(1 - random.random(people) * (1 - 0.9 ** len(DIAGNOSES))) / np.log(0.9)
    diagnosis = np.array(DIAGNOSES)[np.minimum(skewed.astype(np.int64), len(DIAGNOSES) - 1)]
    ids = np.arange(people, dtype=np.int64)
    return pd.DataFrame({"patient_id": ids, "age": age, "sex": sex, "diagnosis": diagnosis})


def visits(people: int) -> pd.DataFrame:
    """About five a person: most come two to four times, a few hundreds of times (Pareto, exponent 1.8). In no order."""
    random = np.random.default_rng([SEED, people, 1])
    counts = np.clip(2.2 / (1 - random.random(people)) ** (1 / 1.8), 1, MOST_VISITS).astype(np.int64)
    patient = np.repeat(np.arange(people, dtype=np.int64), counts)
    random.shuffle(patient)
    department = np.array(DEPARTMENTS)[(random.random(len(patient)) ** 1.4 * len(DEPARTMENTS)).astype(np.int64)]
    stay = np.minimum(random.exponential(2.1, len(patient)).astype(np.int64), STAY[1])
    ids = np.arange(len(patient), dtype=np.int64)
    return pd.DataFrame({"visit_id": ids, "patient_id": patient, "department": department, "length_of_stay": stay})


def write(folder: Path, people: int) -> None:
    """Parquet for those that read it, CSV for databases; files that are there already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in (("patients", patients), ("visits", visits)):
        parquet, csv = folder / f"{name}.parquet", folder / f"{name}.csv"
        if parquet.exists() and csv.exists():
            continue
        table = make(people)
        table.to_csv(csv, index=False)
        # Last, under its name only when whole.
        partial = folder / f"{name}.partial"
        table.to_parquet(partial, index=False, row_group_size=ROW_GROUP)
        partial.rename(parquet)
