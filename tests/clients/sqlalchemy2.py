"""What users of SQLAlchemy 2 and pandas do, at a node: sqlalchemy2.py URL (without a driver). The tables are those of
tests/tests/clients/world.rs."""

import sys

import pandas
import sqlalchemy as sa

from checks import raises, same, tally

DRIVERS = ("psycopg", "psycopg2")


def engines(url):
    for driver in DRIVERS:
        engine = sa.create_engine(url.replace("postgresql://", f"postgresql+{driver}://"))
        try:
            yield engine
        except Exception as error:
            raise AssertionError(driver) from error
        finally:
            engine.dispose()


def check_inspector(url):
    for engine in engines(url):
        inspector = sa.inspect(engine)
        assert {"public", "federation", "kanon"} <= set(inspector.get_schema_names()), inspector.get_schema_names()
        same(inspector.default_schema_name, "public")
        same(sorted(inspector.get_table_names()), ["heart_disease", "icd10", "kinds", "visits"])
        same(sorted(inspector.get_table_names(schema="federation")), ["heart_disease", "icd10"])
        assert "nodes" in inspector.get_view_names(schema="kanon"), inspector.get_view_names(schema="kanon")
        same(inspector.get_view_names(), [])
        columns = inspector.get_columns("heart_disease")
        same([c["name"] for c in columns][:3], ["patient_id", "age", "sex"])
        assert isinstance(columns[0]["type"], sa.BigInteger), columns[0]
        assert isinstance(columns[2]["type"], (sa.Text, sa.String)), columns[2]
        assert all(c["nullable"] and c["default"] is None for c in columns), columns
        same(inspector.get_columns("icd10", schema="federation")[-1]["name"], "site")
        key = inspector.get_pk_constraint("icd10")
        same((key["constrained_columns"], key["name"]), ([], None))
        same(inspector.get_foreign_keys("icd10"), [])
        same(inspector.get_indexes("icd10"), [])
        same(inspector.get_unique_constraints("icd10"), [])
        same(inspector.get_check_constraints("icd10"), [])
        same(inspector.get_table_comment("icd10"), {"text": "titles of diagnoses"})
        same(columns[1]["comment"], "in years")
        same((inspector.has_table("icd10"), inspector.has_table("nowhere")), (True, False))
        same(inspector.has_table("heart_disease", schema="federation"), True)
        same(inspector.get_sequence_names(), [])
        same(inspector.get_enums(), [])
        raises(sa.exc.NoSuchTableError, lambda: inspector.get_columns("nowhere"))


def check_reflection_and_core(url):
    for engine in engines(url):
        metadata = sa.MetaData()
        metadata.reflect(engine)
        icd10 = metadata.tables["icd10"]
        with engine.connect() as c:
            asked = sa.select(icd10.c.title).where(icd10.c.code == "I10")
            same(c.execute(asked).scalar_one(), "Essential hypertension")
            asked = sa.select(sa.func.count()).select_from(icd10).where(icd10.c.code.in_(["I10", "E11"]))
            same(c.execute(asked).scalar_one(), 2)
            asked = sa.select(icd10).order_by(icd10.c.code).limit(2).offset(1)
            same([row.code for row in c.execute(asked)], ["I10", "I20"])
            hd = metadata.tables["heart_disease"]
            asked = sa.select(hd.c.sex, sa.func.count(), sa.func.avg(hd.c.age)).group_by(hd.c.sex).order_by(hd.c.sex)
            same([row[0] for row in c.execute(asked)], ["female", "male"])
            streamed = c.execution_options(stream_results=True, yield_per=10).execute(
                sa.text("SELECT n FROM generate_series(1, 100) AS g(n) WHERE n > :least"), {"least": 0})
            same(sum(row.n for row in streamed), 5050)


def check_transactions_and_errors(url):
    for engine in engines(url):
        with engine.connect() as c:
            with c.begin():
                with c.begin_nested() as nested:
                    raises(sa.exc.DBAPIError, lambda: c.execute(sa.text("SELECT 1/0")))
                    nested.rollback()
                same(c.execute(sa.text("SELECT 1")).scalar_one(), 1)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
            raises(sa.exc.ProgrammingError, lambda: c.execute(sa.text("SELECT * FROM nowhere")))
            raises(sa.exc.ProgrammingError, lambda: c.execute(sa.text("SELECT * FROM heart_disease")))
            same(c.execute(sa.text("SELECT 1")).scalar_one(), 1)
        with engine.connect().execution_options(isolation_level="SERIALIZABLE", postgresql_readonly=True) as c:
            same(c.get_isolation_level(), "SERIALIZABLE")
            same(c.execute(sa.text("SHOW transaction_isolation")).scalar_one(), "serializable")


def check_pandas(url):
    for engine in engines(url):
        with engine.connect() as c:
            frame = pandas.read_sql("SELECT code, title FROM icd10 ORDER BY code", c)
            same(list(frame.columns), ["code", "title"])
            same(len(frame), 6)
            frame = pandas.read_sql(sa.text("SELECT sex, count(*) AS n FROM heart_disease WHERE age > :age GROUP BY sex ORDER BY sex"),
                                    c, params={"age": 30})
            same(str(frame.dtypes["n"]), "int64")
            frame = pandas.read_sql_table("icd10", c)
            same(len(frame), 6)
            frame = pandas.read_sql("SELECT 'icd10' AS t", c)
            parts = list(pandas.read_sql("SELECT n FROM generate_series(1, 25) AS g(n)", c, chunksize=10))
            same([len(part) for part in parts], [10, 10, 5])


if __name__ == "__main__":
    tally(sys.modules[__name__], "SQLAlchemy, pandas", sa.__version__, True, {}, *sys.argv[1:])
