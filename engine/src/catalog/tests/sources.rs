//! Sources of every kind, good and bad.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::parquet::arrow::ArrowWriter;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::super::ColumnDefinition;
use super::{Site, definition};
use crate::error::{Error, Sqlstate};

fn types(site: &Site, table: &str) -> Vec<(String, DataType)> {
    site.table(table).schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
}

fn parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

async fn sqlite(path: &Path, statements: &[&'static str]) {
    let mut connection =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path).create_if_missing(true))
            .await
            .unwrap();
    for statement in statements {
        sqlx::query(*statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

fn column(name: &str, data_type: DataType) -> ColumnDefinition {
    ColumnDefinition { name: name.to_owned(), data_type, nullable: true }
}

async fn refused(site: &Site, format: &str, path: &Path, state: Sqlstate, part: &str) -> Error {
    let error = site.create("refused", format, path, &[]).await.unwrap_err();
    let text = format!("{error} {:?}", error.detail);
    assert_eq!(error.state, state, "{text}");
    assert!(text.contains(part), "{text}");
    assert!(site.catalog.snapshot().table("public", "refused").is_none());
    error
}

#[tokio::test]
async fn the_same_rows_have_the_same_types_from_every_kind_of_source() {
    let site = Site::new().await;
    let csv = site.write("t.csv", "id,name,ok,score\n1,a,true,1.5\n2,,false,\n3,\"c, d\",,-2\n");
    let json = site.write(
        "t.json",
        "{\"id\":1,\"name\":\"a\",\"ok\":true,\"score\":1.5}\n{\"id\":2,\"name\":null,\"ok\":false}\n\n{\"id\":3,\"name\":\"c, d\",\"score\":-2}\n",
    );
    let file = site.path("t.parquet");
    parquet(
        &file,
        vec![
            ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
            ("name", Arc::new(StringArray::from(vec![Some("a"), None, Some("c, d")]))),
            ("ok", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
            ("score", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(-2.0)]))),
        ],
    );
    let database = site.path("t.db");
    sqlite(
        &database,
        &[
            "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, ok BOOLEAN, score DOUBLE PRECISION)",
            "INSERT INTO people VALUES (1, 'a', 1, 1.5), (2, NULL, 0, NULL), (3, 'c, d', NULL, -2)",
        ],
    )
    .await;
    site.create("csv", "CSV", &csv, &[]).await.unwrap();
    site.create("json", "JSON", &json, &[]).await.unwrap();
    site.create("parquet", "PARQUET", &file, &[]).await.unwrap();
    site.create("people", "SQLITE", &database, &[]).await.unwrap();
    site.create("sqlite", "sqlite", &database, &[("table", "people")]).await.unwrap();
    let mut expected = types(&site, "parquet");
    let rows = site.rows("parquet", "SELECT id, name, ok, score FROM parquet ORDER BY id").await.unwrap();
    assert!(rows.contains("c, d"));
    expected.sort();
    for table in ["csv", "json", "people", "sqlite"] {
        let mut found = types(&site, table);
        found.sort();
        assert_eq!(found, expected, "{table}");
        assert_eq!(
            site.rows(table, &format!("SELECT id, name, ok, score FROM {table} ORDER BY id")).await.unwrap(),
            rows,
            "{table}"
        );
        let count = site.rows(table, &format!("SELECT count(*) AS n FROM {table}")).await.unwrap();
        assert!(count.contains("| 3 |"), "{table}: {count}");
        let one = site.rows(table, &format!("SELECT name FROM {table} WHERE id = 3 LIMIT 1")).await.unwrap();
        assert!(one.contains("c, d"), "{table}: {one}");
    }
}

#[tokio::test]
async fn folders_globs_and_new_files() {
    let site = Site::new().await;
    site.write("many/a.csv", "x\n1\n");
    site.write("many/b.csv", "x\n2\n");
    site.write("many/README", "not data");
    site.create("folder", "csv", &site.path("many"), &[]).await.unwrap();
    site.create("globbed", "csv", &site.path("many/b*.csv"), &[]).await.unwrap();
    let sum = |table: &'static str| {
        let site = &site;
        async move { site.rows(table, &format!("SELECT sum(x) AS s FROM {table}")).await.unwrap() }
    };
    assert!(sum("folder").await.contains("| 3 |"));
    assert!(sum("globbed").await.contains("| 2 |"));
    site.write("many/c.csv", "x\n4\n");
    assert!(sum("folder").await.contains("| 7 |"), "a new file is seen at once");
    std::fs::remove_file(site.path("many/a.csv")).unwrap();
    assert!(sum("folder").await.contains("| 6 |"));
}

#[tokio::test]
async fn csv_dialects() {
    let site = Site::new().await;
    let path = site.write("d.csv", "# exported\na;b;c\n1;'x;y';NA\nNA;'two\nlines';3\n");
    site.create("d", "csv", &path, &[("delimiter", ";"), ("quote", "'"), ("comment", "#"), ("null_value", "NA")])
        .await
        .unwrap();
    assert_eq!(types(&site, "d")[0].1, DataType::Int64);
    assert_eq!(types(&site, "d")[2].1, DataType::Int64);
    let rows = site.rows("d", "SELECT count(*) AS n, count(a) AS a, count(b) AS b, sum(c) AS c FROM d").await.unwrap();
    assert!(rows.contains("| 2 | 1 | 2 | 3 |"), "{rows}");
    let path = site.write("h.csv", "1,2\n3,4\n");
    site.create("h", "csv", &path, &[("has_header", "false")]).await.unwrap();
    assert_eq!(types(&site, "h")[0], ("column_1".to_owned(), DataType::Int64));
    let path = site.write("bom.csv", "\u{feff}id,name\n1,x\n");
    site.create("bom", "csv", &path, &[]).await.unwrap();
    assert_eq!(types(&site, "bom")[0].0, "id", "without the mark");
    assert!(site.rows("bom", "SELECT id FROM bom").await.unwrap().contains("| 1  |"));
    let path = site.write("zip.csv", "zip\n01234\n");
    site.create("zip", "csv", &path, &[]).await.unwrap();
    assert_eq!(types(&site, "zip")[0].1, DataType::Utf8, "a code is not a number");
    let error = site.create("x", "csv", &path, &[("delimitr", ";")]).await.unwrap_err();
    assert_eq!((error.state, error.hint.as_deref()), (Sqlstate::UndefinedObject, Some("Did you mean \"delimiter\"?")));
}

#[tokio::test]
async fn odd_column_names_are_kept() {
    let site = Site::new().await;
    let path = site.write("n.csv", "select,\"with space\",\"with \"\"quotes\"\"\",Ünï,Upper\n1,2,3,4,5\n");
    site.create("n", "csv", &path, &[]).await.unwrap();
    let sql = "SELECT \"select\" + \"with space\" + \"with \"\"quotes\"\"\" + \"Ünï\" + \"Upper\" AS s FROM n";
    assert!(site.rows("n", sql).await.unwrap().contains("15"));
    site.set("n", &[("access", "cohort"), ("unit", "with \"quotes\"")]).await.unwrap();
    let database = site.path("n.db");
    sqlite(&database, &["CREATE TABLE n (\"select\" INT, \"a \"\"b\"\" c\" TEXT)", "INSERT INTO n VALUES (1, 'x')"])
        .await;
    site.create("m", "sqlite", &database, &[("table", "n")]).await.unwrap();
    assert!(site.rows("m", "SELECT \"a \"\"b\"\" c\" FROM m WHERE \"select\" = 1").await.unwrap().contains('x'));
}

#[tokio::test]
async fn bad_text_files_are_refused_with_file_and_line() {
    let site = Site::new().await;
    let bad = |name: &str, content: &[u8]| site.write(name, content);
    let text = Sqlstate::InvalidTextRepresentation;
    refused(&site, "csv", &bad("ragged.csv", b"a,b\n1,2\n3\n"), text, "line 3 of \"ragged.csv\" has 1 fields, not 2")
        .await;
    refused(&site, "csv", &bad("wide.csv", b"a,b\n1,2,3\n"), text, "line 2 of \"wide.csv\" has 3 fields").await;
    let error =
        refused(&site, "csv", &bad("latin1.csv", b"name\nJos\xe9\n"), text, "line 2 of \"latin1.csv\" is not UTF-8")
            .await;
    assert!(error.hint.unwrap().contains("iconv"));
    refused(&site, "csv", &bad("empty.csv", b""), Sqlstate::InvalidParameterValue, "empty").await;
    let wide: Vec<String> = (0..10_000).map(|number| format!("c{number}")).collect();
    refused(&site, "csv", &bad("columns.csv", wide.join(",").as_bytes()), Sqlstate::TooManyColumns, "10000").await;
    refused(&site, "csv", &bad("twice.csv", b"a,a\n1,2\n"), Sqlstate::InvalidName, "twice").await;
    refused(&site, "csv", &bad("unnamed.csv", b"a,\n1,2\n"), Sqlstate::InvalidName, "column 2").await;
    refused(&site, "json", &bad("array.json", b"[{\"a\":1},\n{\"a\":2}]\n"), text, "line 1 of \"array.json\"").await;
    refused(&site, "json", &bad("cut.json", b"{\"a\":1}\n{\"a\":"), text, "line 2 of \"cut.json\"").await;
    refused(&site, "json", &bad("mixed.json", b"{\"a\":1}\n{\"a\":\"x\"}\n"), text, "line 2 of \"mixed.json\"").await;
    refused(&site, "json", &bad("nested.json", b"{\"a\":{\"b\":1}}\n"), Sqlstate::FeatureNotSupported, "column \"a\"")
        .await;
    refused(&site, "json", &bad("empty.json", b""), Sqlstate::InvalidParameterValue, "empty").await;
    refused(&site, "xml", &bad("a.xml", b"<a/>"), Sqlstate::InvalidParameterValue, "format \"xml\"").await;
    site.write("two/a.csv", "a,b\n1,2\n");
    site.write("two/b.csv", "b,a\n1,2\n");
    refused(&site, "csv", &site.path("two"), Sqlstate::DatatypeMismatch, "\"b.csv\" has other columns than \"a.csv\"")
        .await;
}

#[tokio::test]
async fn bad_binary_files_are_refused() {
    let site = Site::new().await;
    let good = site.path("good.parquet");
    parquet(&good, vec![("id", Arc::new(Int64Array::from(vec![1, 2, 3])))]);
    let bytes = std::fs::read(&good).unwrap();
    let io = Sqlstate::IoError;
    refused(&site, "parquet", &site.write("empty.parquet", b""), io, "empty.parquet").await;
    refused(&site, "parquet", &site.write("cut.parquet", &bytes[..bytes.len() / 2]), io, "cut.parquet").await;
    refused(&site, "parquet", &site.write("noise.parquet", vec![b'x'; 1000]), io, "noise.parquet").await;
    refused(&site, "arrow", &site.write("noise.arrow", vec![b'x'; 1000]), io, "noise.arrow").await;
    refused(&site, "sqlite", &site.write("noise.db", vec![b'x'; 5000]), io, "noise.db").await;
    refused(&site, "sqlite", &site.write("empty.db", b""), io, "empty").await;
    refused(
        &site,
        "parquet",
        Path::new("/nowhere/at/all.parquet"),
        io,
        "cannot open \"/nowhere/at/all.parquet\": no such file",
    )
    .await;
    std::fs::create_dir_all(site.path("hollow")).unwrap();
    refused(&site, "parquet", &site.path("hollow"), io, "no parquet files").await;
    let database = site.path("good.db");
    sqlite(&database, &["CREATE TABLE visits (a INT, b DATE)", "INSERT INTO visits VALUES (1, '2024-01-31')"]).await;
    let error = refused(&site, "sqlite", &database, Sqlstate::UndefinedTable, "no table \"refused\"").await;
    assert!(error.hint.unwrap().contains("OPTIONS"));
    sqlite(&database, &["CREATE TABLE refused (a INT, b DATE)", "INSERT INTO refused VALUES (1, 'yesterday')"]).await;
    refused(&site, "sqlite", &database, Sqlstate::DatatypeMismatch, "column \"b\"").await;
}

#[tokio::test]
async fn files_of_one_folder_must_merge_without_loss() {
    let site = Site::new().await;
    let ints = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    parquet(&site.path("ok/a.parquet"), vec![("id", ints()), ("n", Arc::new(Int32Array::from(vec![7])))]);
    parquet(
        &site.path("ok/b.parquet"),
        vec![("id", ints()), ("n", ints()), ("extra", Arc::new(StringArray::from(vec!["x"])))],
    );
    site.create("ok", "parquet", &site.path("ok"), &[]).await.unwrap();
    assert_eq!(types(&site, "ok")[1].1, DataType::Int64);
    let rows = site.rows("ok", "SELECT count(*) AS n, sum(n) AS s, count(extra) AS e FROM ok").await.unwrap();
    assert!(rows.contains("| 2 | 8 | 1 |"), "{rows}");
    parquet(&site.path("bad/a.parquet"), vec![("id", ints())]);
    parquet(&site.path("bad/b.parquet"), vec![("id", Arc::new(StringArray::from(vec!["1"])))]);
    let expected = "column \"id\" is Int64 in \"a.parquet\" and Utf8 in \"b.parquet\"";
    refused(&site, "parquet", &site.path("bad"), Sqlstate::DatatypeMismatch, expected).await;
}

#[tokio::test]
async fn declared_columns_override_what_is_found() {
    let site = Site::new().await;
    let path = site.write("t.csv", "id,code\n1,7\n2,x\n");
    let mut table = definition("t", "csv", &path, &[]);
    table.columns = vec![column("id", DataType::Utf8), column("code", DataType::Utf8)];
    site.catalog.create_external_table(table.clone(), "stew").await.unwrap();
    assert!(types(&site, "t").iter().all(|(_, data_type)| *data_type == DataType::Utf8));
    table.name = "u".into();
    table.columns[1].data_type = DataType::Int32;
    let error = site.catalog.create_external_table(table.clone(), "stew").await.unwrap_err();
    assert!(error.message.contains("line 3"), "{error}");
    table.columns = vec![column("code", DataType::Utf8), column("id", DataType::Utf8)];
    let error = site.catalog.create_external_table(table, "stew").await.unwrap_err();
    assert_eq!(error.state, Sqlstate::DatatypeMismatch, "the order is that of the file: {error}");
    let empty = site.write("e.csv", "");
    let mut table = definition("e", "csv", &empty, &[]);
    table.columns = vec![column("id", DataType::Int64)];
    site.catalog.create_external_table(table, "stew").await.unwrap();
    assert!(site.rows("e", "SELECT count(*) AS n FROM e").await.unwrap().contains("| 0 |"));
    let file = site.path("p.parquet");
    parquet(&file, vec![("id", Arc::new(Int32Array::from(vec![1]))), ("x", Arc::new(Int32Array::from(vec![1])))]);
    let mut table = definition("p", "parquet", &file, &[]);
    table.columns = vec![column("id", DataType::Int64)];
    site.catalog.create_external_table(table.clone(), "stew").await.unwrap();
    assert_eq!(types(&site, "p"), [("id".to_owned(), DataType::Int64)]);
    table.name = "q".into();
    table.columns = vec![column("idd", DataType::Int64)];
    let error = site.catalog.create_external_table(table, "stew").await.unwrap_err();
    assert_eq!((error.state, error.hint.as_deref()), (Sqlstate::UndefinedColumn, Some("Did you mean \"id\"?")));
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_null_when_protected_and_an_error_when_open() {
    let site = Site::new().await;
    let database = site.path("t.db");
    sqlite(&database, &["CREATE TABLE t (id INT, n INT, d DATE)", "INSERT INTO t VALUES (1, 5, '2024-01-31')"]).await;
    site.create("t", "sqlite", &database, &[]).await.unwrap();
    sqlite(&database, &["INSERT INTO t VALUES (2, 'five', 'never'), (3, 7, NULL)"]).await;
    site.set("t", &[("access", "cohort"), ("unit", "id")]).await.unwrap();
    let rows = site.rows("t", "SELECT count(*) AS c, count(n) AS n, sum(n) AS s, count(d) AS d FROM t").await.unwrap();
    assert!(rows.contains("| 3 | 2 | 12 | 1 |"), "{rows}");
    site.set("t", &[("access", "open")]).await.unwrap();
    let error = site.rows("t", "SELECT sum(n) FROM t").await.unwrap_err();
    assert!(error.to_string().contains("not of its column's type"));
    assert!(!error.to_string().contains("five"), "no value is told");
    assert!(site.rows("t", "SELECT sum(id) AS s FROM t").await.unwrap().contains("| 6 |"), "other columns can be read");
}

#[tokio::test]
async fn a_source_that_is_gone_is_an_error_of_its_queries_only() {
    let site = Site::new().await;
    let path = site.write("gone.csv", "a\n1\n");
    site.create("gone", "csv", &path, &[]).await.unwrap();
    let database = site.path("gone.db");
    sqlite(&database, &["CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1)"]).await;
    site.create("gone_too", "sqlite", &database, &[("table", "t")]).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(&database).unwrap();
    let site = site.restarted().await;
    assert!(site.rows("gone_too", "SELECT a FROM gone_too").await.is_err());
    assert_eq!(site.catalog.snapshot().tables.len(), 2);
}

#[tokio::test]
async fn data_root_is_a_fence() {
    let site = Site::with(|config| {
        let root = config.dir.parent().unwrap().join("data");
        std::fs::create_dir_all(&root).unwrap();
        config.data_root = Some(root);
    })
    .await;
    let inside = site.write("data/in.csv", "a\n1\n");
    let outside = site.write("out.csv", "a\n1\n");
    site.create("inside", "csv", &inside, &[]).await.unwrap();
    let denied = Sqlstate::InsufficientPrivilege;
    refused(&site, "csv", &outside, denied, "does not lie under").await;
    refused(&site, "csv", &site.path("data/../out.csv"), denied, "does not lie under").await;
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&outside, site.path("data/link.csv")).unwrap();
        refused(&site, "csv", &site.path("data/link.csv"), denied, "does not lie under").await;
        std::fs::remove_file(&inside).unwrap();
        refused(&site, "csv", &site.path("data"), denied, "does not lie under").await;
    }
    refused(&site, "parquet", Path::new("s3://bucket/x/"), denied, "must lie under").await;
}

#[tokio::test]
async fn locations_that_cannot_be() {
    let site = Site::new().await;
    for (location, part) in [
        ("relative/path.csv", "not an absolute path"),
        ("ftp://host/x.csv", "cannot begin with ftp://"),
        ("https://user:secret@host/x.csv", "cannot hold a password"),
        ("", "empty"),
    ] {
        let error = refused(&site, "csv", Path::new(location), Sqlstate::InvalidParameterValue, part).await;
        assert!(!error.message.contains("secret"));
    }
}
