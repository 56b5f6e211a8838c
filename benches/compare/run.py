"""Kanon beside other engines of differential privacy, on the same data at the same total epsilon and delta, in one run.

    make compare                                          1,000,000 people; about an hour
    make compare ARGS='--people 20000 --releases 5'       a look

Each engine runs in a process and an environment of its own, one after the other. One that is not installed or fails is told, and does not
stop the others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import common
import data
import postgres
from figures import Truth

CACHE = Path.home() / ".cache/kanon/compare"
# What is shown, its environment, its module, whether it asks PostgreSQL. Kanon is first: the others are told as times of it.
ENGINES = {
    "kanon": ("Kanon", "kanon", "kanon.py", False),
    "smartnoise": ("smartnoise-sql", "smartnoise", "smartnoise.py", True),
    "qrlew": ("qrlew", "qrlew", "qrlew.py", True),
    "opendp": ("OpenDP Polars", "opendp", "opendp_polars.py", False),
    "pipeline_dp": ("pipeline-dp", "pipeline_dp", "pipelinedp.py", False),
}
# Medians of a few releases differ by so much between two runs of the same engine.
NO_WORSE = 1.1


def measured(name: str, given: argparse.Namespace, folder: Path, database: str | None) -> dict | str:
    """The figures of an engine, or why there are none."""
    _, environment, module, _ = ENGINES[name]
    home = CACHE / environment
    if not (home / "requirements.txt").exists():
        said = home / "failed"
        return f"not installed: {said.read_text().strip().splitlines()[-1] if said.exists() else 'run scripts/compare'}"
    with tempfile.TemporaryDirectory(prefix="kanon-compare-") as scratch:
        out, log = Path(scratch) / "figures", Path(scratch) / "log"
        command = [home / "bin/python", Path(__file__).parent / module, "--folder", folder, "--database", database or ""]
        command += ["--people", given.people, "--releases", given.releases, "--runs", given.runs]
        command += ["--seconds", given.seconds, "--out", out]
        with open(log, "wb") as text:
            ended = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=text, stderr=text)
        if ended.returncode == 0:
            return json.loads(out.read_text())
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return f"failed: {lines[-1] if lines else f'exit status {ended.returncode}'}"


def percent(share: float) -> str:
    return f"{share * 100:.4f}%" if share < 0.01 else f"{share * 100:.1f}%"


def times(value: float, kanon: float | None) -> str:
    return "" if not kanon else f"{value / kanon:.2f}"


def table(heads: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    for row in [heads, *rows]:
        first, *others = (cell.ljust(w) if n < 2 else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths)))
        print("  ".join([first, *others]).rstrip())


def by_diagnosis(found: dict[str, dict]) -> None:
    kanon = found.get("kanon", {}).get("diagnosis", {})
    rows = []
    for name, figures in found.items():
        f = figures["diagnosis"]
        row = [ENGINES[name][0], figures["version"], f"{f['ms']:,.1f}", times(f["ms"], kanon.get("ms"))]
        row += [percent(f["count_error"]), times(f["count_error"], kanon.get("count_error"))]
        row += [percent(f["average_error"]), times(f["average_error"], kanon.get("average_error")), str(f["releases"])]
        rows.append(row)
    heads = ["engine", "version", "ms", "x Kanon", "count off", "x Kanon", "avg off", "x Kanon", "releases"]
    table(heads, rows)


def by_department(found: dict[str, dict]) -> None:
    kanon = found.get("kanon", {}).get("departments", {}).get("default", {})
    rows = []
    for name, figures in found.items():
        for bound, f in figures["departments"].items():
            row = [ENGINES[name][0], bound, f"{f['ms']:,.1f}", times(f["ms"], kanon.get("ms"))]
            rows.append(row + [percent(f["count_error"]), times(f["count_error"], kanon.get("count_error")), str(f["releases"])])
    table(["engine", "bounds", "ms", "x Kanon", "count off", "x Kanon", "releases"], rows)


def forms(found: dict[str, dict], truths: dict[str, float]) -> None:
    for name, sql in common.FORMS.items():
        truth = truths[name]
        print(f"{sql}\n    {'the truth':16}{truth:,.4f}")
        for engine, figures in found.items():
            got = figures["forms"][name]
            if not isinstance(got, str):
                got = f"{got:,.4f}".ljust(16) + f"off by {percent(abs(got - truth) / truth)}"
            print(f"    {ENGINES[engine][0]:16}{got}")


def targets(found: dict[str, dict]) -> None:
    """What Kanon is to reach beside the others that answered."""
    others = {name: figures["diagnosis"] for name, figures in found.items() if name != "kanon"}
    if "kanon" not in found or not others:
        return
    kanon = found["kanon"]["diagnosis"]
    tell = lambda what, got, bar: print(f"{what:74}{got:>12}{'' if bar else '  missed'}")
    fastest = min(f["ms"] for f in others.values())
    tell("time by diagnosis, at most 0.1 of the fastest", f"{kanon['ms'] / fastest:.3f}", kanon["ms"] <= fastest / 10)
    if "opendp" in others:
        share = kanon["average_error"] / others["opendp"]["average_error"]
        tell("error of averages, at most 0.5 of OpenDP's", f"{share:.2f}", share <= 0.5)
    share = kanon["count_error"] / min(f["count_error"] for f in others.values())
    tell(f"error of counts, no worse than the best ({NO_WORSE} at most: medians vary)", f"{share:.2f}", share <= NO_WORSE)
    off = found["kanon"]["departments"]["default"]["count_error"]
    tell("error of visits by department without tuning, under 1%", percent(off), off < 0.01)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--people", type=int, default=1_000_000)
    arguments.add_argument("--releases", type=int, default=20, help="of each question (default 20)")
    arguments.add_argument("--runs", type=int, default=5, help="at least so many are timed (default 5)")
    arguments.add_argument("--seconds", type=float, default=400, help="then a question ends with the releases it has (400)")
    arguments.add_argument("--engines", default=",".join(ENGINES), help="some of " + ",".join(ENGINES))
    given = arguments.parse_args()
    given.releases = max(given.releases, given.runs + 1)
    asked = given.engines.split(",")
    unknown = [name for name in asked if name not in ENGINES]
    if unknown:
        arguments.error(f"no engine {unknown[0]}")
    if "kanon" in asked:
        import kanon

        kanon.program()
    folder = CACHE / f"data-{given.people}-{data.SEED}"
    print(f"the tables of {given.people:,} people", file=sys.stderr)
    data.write(folder, given.people)
    found: dict[str, dict] = {}
    failed: dict[str, str] = {}

    def ask(names: list[str], database: str | None) -> None:
        for name in names:
            print(ENGINES[name][0], file=sys.stderr)
            figures = measured(name, given, folder, database)
            (failed if isinstance(figures, str) else found)[name] = figures

    ask([name for name in asked if not ENGINES[name][3]], None)
    rewriters = [name for name in asked if ENGINES[name][3]]
    if rewriters:
        print("PostgreSQL loads the tables", file=sys.stderr)
        with postgres.server(folder) as database:
            ask(rewriters, database)
    truth = Truth(folder)
    found = {name: truth.figures(found[name]) for name in ENGINES if name in found}
    for name, why in failed.items():
        print(f"{ENGINES[name][0]}: {why}")
    if found:
        print(f"\ncount(age), avg(age) of {given.people:,} patients by diagnosis: epsilon {common.EPSILON_DIAGNOSIS}, delta {common.DELTA}")
        by_diagnosis(found)
        print(f"\ncount(*) of visits by department: epsilon {common.EPSILON_DEPARTMENT}, delta {common.DELTA}; x Kanon's default")
        by_department(found)
        print(f"\nforms that must be right or refused: epsilon {common.EPSILON_FORM}")
        forms(found, truth.forms)
        print()
        targets(found)
    sys.exit(1 if "kanon" in failed or not found else 0)


if __name__ == "__main__":
    main()
