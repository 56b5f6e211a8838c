"""What users of dbt do, at a node with the tables of tests/tests/clients/world.rs, or at a PostgreSQL with the same:
dbt_.py PORT USER PASSWORD. A small project is made in a folder for as long as the script runs."""

import contextlib
import importlib.metadata
import io
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

os.environ["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "false"
# dbt's own use of what is deprecated.
warnings.simplefilter("ignore")

import psycopg2
from dbt.cli.main import dbtRunner

from checks import same, tally

# Checks that a node fails, and why.
KNOWN = {}

FILES = {
    "dbt_project.yml": "name: hearts\nversion: '1.0'\nprofile: kanon\nmodel-paths: [models]\nmacro-paths: [macros]\ntest-paths: [tests]\n"
                       "analysis-paths: [analyses]\nvars: {least: I}\n",
    "models/codes.sql": "{{ config(materialized='ephemeral') }}\nSELECT code, title FROM {{ source('clinic', 'icd10') }} WHERE code > '{{ var(\"least\") }}'\n",
    "models/letters.sql": "{{ config(materialized='ephemeral') }}\nSELECT substr(code, 1, 1) AS letter, count(*) AS n FROM {{ ref('codes') }} GROUP BY 1\n",
    "models/stored.sql": "{{ config(materialized='table') }}\nSELECT * FROM {{ ref('codes') }}\n",
    "models/seen.sql": "{{ config(materialized='view') }}\nSELECT * FROM {{ ref('codes') }}\n",
    "models/added.sql": "{{ config(materialized='incremental') }}\nSELECT * FROM {{ ref('codes') }}\n",
    "models/sources.yml": """
sources:
  - name: clinic
    schema: public
    tables:
      - name: icd10
        columns: [{name: code, data_tests: [unique, not_null]}]
      - name: kinds
        columns: [{name: t, data_tests: [not_null]}]
""",
    "macros/numbers.sql": "{% macro people(column) %}count({{ column }}){% endmacro %}\n"
                          "{% macro columns_of_icd10() %}{% for c in adapter.get_columns_in_relation(source('clinic', 'icd10')) %}"
                          "{{ print(c.name ~ ' ' ~ c.data_type) }}{% endfor %}{% endmacro %}\n"
                          "{% macro schemas() %}{{ print(adapter.check_schema_exists(target.database, 'public')) }}{% endmacro %}\n"
                          "{% macro relation() %}{{ print(adapter.get_relation(target.database, 'public', 'kinds').type) }}{% endmacro %}\n"
                          "{% macro codes() %}{% set found = run_query('SELECT code FROM icd10 ORDER BY code') %}"
                          "{{ print(found.columns[0].values() | join(',')) }}{% endmacro %}\n",
    "tests/no_empty_title.sql": "SELECT * FROM {{ ref('codes') }} WHERE title = ''\n",
    "analyses/hearts.sql": "SELECT sex, {{ people('*') }} AS n FROM public.heart_disease GROUP BY sex\n",
}


class Project:
    def __init__(self, folder, port, user, password):
        self.folder = Path(folder)
        profile = {"type": "postgres", "host": "127.0.0.1", "port": int(port), "user": user, "password": password, "dbname": "kanon",
                   "schema": "public", "threads": 2, "search_path": "public", "connect_timeout": 5, "keepalives_idle": 10}
        files = {**FILES, "profiles.yml": json.dumps({"kanon": {"target": "node", "outputs": {
            "node": profile, "wrong": {**profile, "password": "wrong"}}}})}
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def dbt(self, *arguments):
        """Runs a command of dbt: whether it went well, what it gave, what it printed."""
        place = ["--project-dir", str(self.folder), "--profiles-dir", str(self.folder)]
        printed = []
        runner = dbtRunner(callbacks=[lambda event: printed.append(event.info.msg)])
        with contextlib.redirect_stdout(io.StringIO()) as out:
            result = runner.invoke(["--quiet", "--no-use-colors", "--no-partial-parse", *arguments, *place])
        said = "\n".join([*printed, out.getvalue(), str(result.exception or "")])
        return result.success, result.result, said

    def shown(self, sql, *more):
        """The rows that `dbt show` shows of a query."""
        success, result, said = self.dbt("show", "--inline", sql, "--output", "json", *more)
        assert success, said
        table = result.results[0].agate_table
        return [tuple(row.values()) for row in table.rows]


def check_debug(project):
    success, _, said = project.dbt("debug")
    assert success, said


def check_wrong_password(project):
    success, _, said = project.dbt("debug", "--target", "wrong")
    assert not success and "password authentication failed" in said, said


def check_list(project):
    success, names, said = project.dbt("ls", "--resource-type", "model")
    assert success, said
    same(sorted(names), ["hearts.added", "hearts.codes", "hearts.letters", "hearts.seen", "hearts.stored"])


def check_compile(project):
    success, result, said = project.dbt("compile", "--select", "stored")
    assert success, said
    assert "__dbt__cte__codes" in result.results[0].node.compiled_code, result


def check_show_of_sql(project):
    same(project.shown("SELECT 1 AS one, 'x' AS x, NULL AS nothing"), [(1, "x", None)])


def check_show_of_an_ephemeral_model(project):
    same(project.shown("SELECT code FROM {{ ref('codes') }} ORDER BY code"), [("I10",), ("I20",), ("I21",), ("J45",), ("K21",)])


def check_show_of_models_of_models(project):
    same([(letter, int(n)) for letter, n in project.shown("SELECT * FROM {{ ref('letters') }} ORDER BY letter")],
         [("I", 3), ("J", 1), ("K", 1)])


def check_show_of_a_model(project):
    success, result, said = project.dbt("show", "--select", "codes", "--limit", "2", "--output", "json")
    assert success, said
    same(len(result.results[0].agate_table.rows), 2)


def check_variables(project):
    same(project.shown("SELECT code FROM {{ ref('codes') }}", "--vars", "{least: K}"), [("K21",)])


def check_limit(project):
    same(len(project.shown("SELECT n FROM generate_series(1, 10000) AS g(n)", "--limit", "7")), 7)
    same(len(project.shown("SELECT n FROM generate_series(1, 10000) AS g(n)", "--limit", "-1")), 10_000)


def check_values(project):
    [row] = project.shown("SELECT i4, n, t, d, flag, f8 FROM {{ source('clinic', 'kinds') }} WHERE id = 1")
    same((int(row[0]), str(row[1]), str(row[3])[:10], row[4]), (70000, "-123.45", "2024-02-29", True))


def check_tests(project):
    success, result, said = project.dbt("test", "--select", "source:clinic.icd10", "no_empty_title")
    assert success, said
    same({r.status.value for r in result.results}, {"pass"})
    same(len(result.results), 3)


def check_tests_that_fail(project):
    success, result, said = project.dbt("test", "--select", "source:clinic.kinds")
    assert not success, said
    same([(r.status.value, r.failures) for r in result.results], [("fail", 1)])


def operation(project, name):
    """What a macro prints."""
    success, _, said = project.dbt("run-operation", name)
    assert success, said
    return said


def check_columns_of_a_relation(project):
    said = operation(project, "columns_of_icd10")
    assert "code text" in said and "title text" in said, said


def check_schema_exists(project):
    assert "True" in operation(project, "schemas")


def check_relation(project):
    assert "table" in operation(project, "relation")


def check_queries_in_macros(project):
    assert "E11,I10,I20,I21,J45,K21" in operation(project, "codes")


def check_docs(project):
    success, result, said = project.dbt("docs", "generate", "--no-compile")
    assert success, said
    catalog = json.loads((project.folder / "target/catalog.json").read_text())
    same([c["type"] for c in catalog["sources"]["source.hearts.clinic.icd10"]["columns"].values()], ["text", "text"])
    same(catalog["sources"]["source.hearts.clinic.icd10"]["metadata"]["comment"], "titles of diagnoses")


def refused(project, model):
    success, _, said = project.dbt("run", "--select", model)
    assert not success and "in a read-only transaction" in said, said


def check_tables_are_refused(project):
    refused(project, "stored")


def check_views_are_refused(project):
    refused(project, "seen")


def check_incremental_models_are_refused(project):
    refused(project, "added")


def check_errors(project):
    success, _, said = project.dbt("show", "--inline", "SELECT * FROM nowhere")
    assert not success and 'relation "nowhere" does not exist' in said, said


def node_check_aggregate_of_a_protected_table(project):
    found = project.shown("SELECT sex, count(*) AS n FROM public.heart_disease GROUP BY sex ORDER BY sex")
    same([sex for sex, _ in found], ["female", "male"])
    assert min(n for _, n in found) >= 10, found


def node_check_analysis_of_a_protected_table(project):
    success, result, said = project.dbt("show", "--select", "path:analyses/hearts.sql", "--output", "json")
    assert success, said
    same(len(result.results[0].agate_table.rows), 2)


def node_check_rows_are_refused(project):
    success, _, said = project.dbt("show", "--inline", "SELECT * FROM public.heart_disease")
    assert not success and "heart_disease" in said, said


if __name__ == "__main__":
    port, user, password = sys.argv[1:]
    connection = psycopg2.connect(host="127.0.0.1", port=port, user=user, password=password, dbname="kanon")
    with connection.cursor() as cur:
        cur.execute("SELECT version()")
        node = "Kanon" in cur.fetchone()[0]
    connection.close()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        project = Project(folder, port, user, password)
        tally(sys.modules[__name__], "dbt-postgres", importlib.metadata.version("dbt-postgres"), node, KNOWN, project)
