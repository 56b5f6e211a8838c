//! Files that are missing, unreadable, empty, truncated, of another shape, changed or gone.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::ipc::writer::FileWriter;
use datafusion::parquet::arrow::ArrowWriter;
use kanon_tests::ANALYST;

use crate::{lives, node, refused};

/// What no analyst may be told.
const SECRET: &str = "Hildegard";

pub fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn ipc(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

fn ids() -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(0..1000))
}

fn names() -> ArrayRef {
    Arc::new(StringArray::from_iter_values((0..1000).map(|i| format!("{SECRET} {i}"))))
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_read() {
    let good = parquet(vec![("id", ids()), ("name", names())]);
    let arrow = ipc(vec![("id", ids()), ("name", names())]);
    let mut wide: String = (0..10_000).map(|i| format!("c{i},")).collect();
    wide.pop();
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let text = |text: &str| text.as_bytes().to_vec();
    let cases: Vec<(&str, &str, Vec<u8>, &str, &str)> = vec![
        ("PARQUET", "empty.parquet", Vec::new(), "58030", "The file is empty"),
        ("PARQUET", "cut.parquet", half(&good), "58030", "cannot read \"cut.parquet\" as Parquet"),
        ("PARQUET", "noise.parquet", vec![b'x'; 500], "58030", "cannot read \"noise.parquet\" as Parquet"),
        ("ARROW", "empty.arrow", Vec::new(), "58030", "The file is empty"),
        ("ARROW", "cut.arrow", half(&arrow), "58030", "cannot read \"cut.arrow\" as Arrow IPC"),
        ("SQLITE", "empty.db", Vec::new(), "58030", "empty"),
        ("SQLITE", "noise.db", vec![b'x'; 5000], "58030", "noise.db"),
        ("SQLITE", "cut.db", text("SQLite format 3\0\u{10}\0"), "58030", "cut.db"),
        ("JSON", "empty.ndjson", Vec::new(), "22023", "the file is empty"),
        ("JSON", "cut.ndjson", text("{\"a\":1}\n{\"a\":"), "22P02", "line 2 of \"cut.ndjson\""),
        ("JSON", "array.json", text("[{\"a\":\"Hildegard\"}]"), "22P02", "line 1 of \"array.json\""),
        ("JSON", "mixed.json", text("{\"a\":1}\n{\"a\":\"Hildegard\"}"), "22P02", "line 2 of \"mixed.json\""),
        ("CSV", "empty.csv", Vec::new(), "22023", "the file is empty"),
        ("CSV", "short.csv", text("a,b\n1,2\nHildegard\n"), "22P02", "line 3 of \"short.csv\" has 1 fields, not 2"),
        ("CSV", "long.csv", text("a,b\n1,2,Hildegard\n"), "22P02", "line 2 of \"long.csv\" has 3 fields, not 2"),
        ("CSV", "latin1.csv", b"name\nHildegard\xe9\n".to_vec(), "22P02", "is not UTF-8"),
        ("CSV", "wide.csv", wide.into_bytes(), "54011", "at most 1600 columns"),
        ("CSV", "cut.csv.gz", vec![0x1f, 0x8b, 8, 0, 0, 0], "58030", "cut.csv.gz"),
    ];
    let files = cases.iter().map(|(_, name, content, _, _)| (*name, content.clone())).collect();
    let (federation, admin) = node(files, &[]).await;
    let dir = federation.sites[0].dir.display().to_string();
    let create =
        |format: &str, name: &str| format!("CREATE EXTERNAL TABLE t STORED AS {format} LOCATION '{dir}/{name}'");
    for (format, name, _, code, part) in &cases {
        let error = refused(&admin, &create(format, name), code, part).await;
        // A steward is told where, and nobody what.
        assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
    }
    std::os::unix::fs::symlink("loop.csv", format!("{dir}/loop.csv")).unwrap();
    std::fs::create_dir(format!("{dir}/hollow")).unwrap();
    for format in ["PARQUET", "CSV", "JSON", "ARROW", "SQLITE"] {
        let error = refused(&admin, &create(format, "nowhere.x"), "58030", "no such file or directory").await;
        assert!(error.hint.unwrap().contains("on its own machine"));
        refused(&admin, &create(format, "loop.csv"), "58030", "cannot open").await;
    }
    for format in ["PARQUET", "CSV", "JSON", "ARROW"] {
        refused(&admin, &create(format, "hollow"), "58030", &format!("no {} files", format.to_lowercase())).await;
        refused(&admin, &create(format, "hollow/*.x"), "58030", &format!("no {} files", format.to_lowercase())).await;
    }
    refused(&admin, &create("SQLITE", "hollow"), "22023", "one local file").await;
    refused(&admin, &create("XML", "short.csv"), "22023", "format \"xml\" is not supported").await;
    for (location, part) in [
        ("relative.csv", "not an absolute path"),
        ("", "LOCATION is empty"),
        ("ftp://host/x.csv", "cannot begin with ftp://"),
        ("http://203.0.113.1/x.csv", "http:// is for this machine only"),
        ("http://localhost.example.org/x.csv", "http:// is for this machine only"),
        ("https://user:Hildegard@host/x.csv", "cannot hold a password"),
    ] {
        let sql = format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{location}'");
        let error = refused(&admin, &sql, "22023", part).await;
        assert!(!format!("{error:?}").contains(SECRET));
    }
    refused(&admin, "SELECT * FROM t", "42P01", "\"t\" does not exist").await;
    lives(&federation, &admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shapes_that_can_be_read() {
    let more = parquet(vec![("id", ids()), ("extra", names())]);
    let other = parquet(vec![("id", names())]);
    let files = vec![
        ("bom.csv", "\u{feff}id,name\n1,x\n".as_bytes().to_vec()),
        ("same/a.parquet", parquet(vec![("id", ids())])),
        ("same/b.parquet", more),
        ("other/a.parquet", parquet(vec![("id", ids())])),
        ("other/b.parquet", other),
        ("odd.csv", b"select,with space,\"with \"\"quotes\"\"\",order,Upper,group,\xc3\x9c\n1,2,3,4,5,6,7\n".to_vec()),
        ("declared.csv", Vec::new()),
    ];
    let setup = [
        "CREATE EXTERNAL TABLE bom STORED AS CSV LOCATION '{dir}/bom.csv'",
        "CREATE EXTERNAL TABLE same STORED AS PARQUET LOCATION '{dir}/same/'",
        "CREATE EXTERNAL TABLE odd STORED AS CSV LOCATION '{dir}/odd.csv'",
        "CREATE EXTERNAL TABLE declared (id bigint, at timestamp) STORED AS CSV LOCATION '{dir}/declared.csv'",
        "ALTER TABLE bom SET (access = 'open')",
        "ALTER TABLE same SET (access = 'open')",
        "ALTER TABLE odd SET (access = 'open')",
        "ALTER TABLE declared SET (access = 'open')",
    ];
    let (federation, admin) = node(files, &setup).await;
    let lines = async |sql: &str| admin.ask(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).lines();
    assert_eq!(lines("SELECT id, name FROM bom").await, ["1|x"], "the mark is no part of the first name");
    assert_eq!(lines("SELECT count(*), count(extra) FROM same").await, ["2000|1000"]);
    let odd =
        "SELECT \"select\", \"with space\", \"with \"\"quotes\"\"\", \"order\", \"Upper\", \"group\", \"Ü\" FROM odd";
    assert_eq!(lines(odd).await, ["1|2|3|4|5|6|7"]);
    assert_eq!(lines(&format!("{odd} WHERE \"select\" = 1 ORDER BY \"order\"")).await.len(), 1);
    assert_eq!(
        lines("SELECT \"group\", sum(\"order\") FROM odd GROUP BY \"group\" HAVING max(\"select\") = 1").await,
        ["6|4"]
    );
    // As a unit and as a measure, through the policy's own text, and its sum as a release.
    for sql in [
        "ALTER TABLE odd ALTER COLUMN \"order\" SET (role = 'measure')",
        "ALTER TABLE odd SET (access = 'cohort', unit = 'with \"quotes\"', min_cohort = 2)",
        "COMMENT ON COLUMN odd.\"with \"\"quotes\"\"\" IS 'a ''unit'''",
    ] {
        admin.ask(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
    assert_eq!(lines("SELECT sum(\"order\") FROM odd").await, [""], "one person is too few");
    refused(&admin, "SELECT \"with \"\"quotes\"\"\" FROM odd", "42501", "odd").await;
    assert_eq!(lines("SELECT count(*) FROM declared").await, ["0"]);
    let dir = federation.sites[0].dir.display();
    let sql = format!("CREATE EXTERNAL TABLE other STORED AS PARQUET LOCATION '{dir}/other/'");
    refused(&admin, &sql, "42804", "column \"id\" is Int64 in \"a.parquet\" and Utf8 in \"b.parquet\"").await;
    lives(&federation, &admin).await;
}

/// What an analyst is told when files change or go must not depend on what is in them.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_or_vanish_after_they_were_registered() {
    let good = parquet(vec![("id", ids()), ("name", names())]);
    let csv: String = std::iter::once("id,n\n".to_owned()).chain((0..1000).map(|i| format!("{i},{i}\n"))).collect();
    let json: String = (0..1000).map(|i| format!("{{\"id\":{i},\"n\":{i}}}\n")).collect();
    let mut files = Vec::new();
    for access in ["open", "cohort"] {
        files.push((format!("{access}/p.parquet"), good.clone()));
        files.push((format!("{access}/a.arrow"), ipc(vec![("id", ids()), ("name", names())])));
        files.push((format!("{access}/c.csv"), csv.clone().into_bytes()));
        files.push((format!("{access}/j.json"), json.clone().into_bytes()));
    }
    let mut setup = Vec::new();
    for access in ["open", "cohort"] {
        for (table, format, file) in
            [("p", "PARQUET", "p.parquet"), ("a", "ARROW", "a.arrow"), ("c", "CSV", "c.csv"), ("j", "JSON", "j.json")]
        {
            setup.push(format!(
                "CREATE EXTERNAL TABLE {access}_{table} STORED AS {format} LOCATION '{{dir}}/{access}/{file}'"
            ));
            let unit = if access == "cohort" { ", unit = 'id', min_cohort = 5" } else { "" };
            setup.push(format!("ALTER TABLE {access}_{table} SET (access = '{access}'{unit})"));
        }
    }
    let files = files.iter().map(|(name, content)| (name.as_str(), content.clone())).collect();
    let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
    let (federation, admin) = node(files, &setup).await;
    let tables: Vec<String> =
        ["open", "cohort"].iter().flat_map(|a| ["p", "a", "c", "j"].map(|t| format!("{a}_{t}"))).collect();
    federation.grant_all(&tables.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let analyst = federation.sites[0].connect(ANALYST).await.unwrap();
    for table in &tables {
        assert_eq!(analyst.ask(&format!("SELECT count(*) FROM {table}")).await.unwrap().lines(), ["1000"]);
    }
    let dir = &federation.sites[0].dir;
    let name = |table: &str| match table {
        "p" => "p.parquet",
        "a" => "a.arrow",
        "c" => "c.csv",
        _ => "j.json",
    };
    let queries = |table: &str| {
        let value = if table.ends_with('p') || table.ends_with('a') { "count(name)" } else { "sum(n)" };
        [format!("SELECT count(*), {value} FROM {table}"), format!("SELECT {value} FROM {table}")]
    };
    let garbled: Vec<(&str, Vec<u8>)> = vec![
        ("rows of another shape", format!("id,n,x\n1,{SECRET},3\n{SECRET}\n").into_bytes()),
        ("a value of another type", format!("id,n\n1,{SECRET}\n{SECRET},2\n").into_bytes()),
        ("json of another type", format!("{{\"id\":1,\"n\":\"{SECRET}\"}}\n{{\"id\":\"{SECRET}\"").into_bytes()),
        ("half of what was there", good[..good.len() / 2].to_vec()),
        ("nothing", Vec::new()),
    ];
    for (what, content) in &garbled {
        for access in ["open", "cohort"] {
            let mut told = Vec::new();
            for table in ["p", "a", "c", "j"] {
                std::fs::write(dir.join(access).join(name(table)), content).unwrap();
                for sql in queries(&format!("{access}_{table}")) {
                    if let Err(error) = analyst.ask(&sql).await {
                        assert_ne!(error.code, "XX000", "{what}: {sql}: {error:?}");
                        // Who may read the rows may be told which of them is wrong.
                        assert!(access == "open" || !format!("{error:?}").contains(SECRET), "{what}: {sql}: {error:?}");
                        told.push(error);
                    }
                }
            }
            if access == "cohort" {
                assert!(told.iter().all(|e| e.code == "38000"), "{what}: {told:?}");
                assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{what}: one constant text: {told:?}");
            }
        }
        lives(&federation, &analyst).await;
    }
    for access in ["open", "cohort"] {
        for table in ["p", "a", "c", "j"] {
            std::fs::remove_file(dir.join(access).join(name(table))).unwrap();
            for sql in queries(&format!("{access}_{table}")) {
                match analyst.ask(&sql).await {
                    Err(error) => {
                        let expected = if access == "cohort" { "38000" } else { "58030" };
                        assert_eq!(error.code, expected, "{sql}: {error:?}");
                        let dir = dir.display().to_string();
                        assert!(
                            !format!("{error:?}").contains(&dir),
                            "where data is is its steward's to know: {error:?}"
                        );
                    }
                    Ok(answer) => panic!("{sql}: a file that is gone is no empty table: {answer:?}"),
                }
            }
        }
    }
    // Its steward registers it anew, or puts it back.
    std::fs::write(dir.join("cohort/p.parquet"), &good).unwrap();
    assert_eq!(analyst.ask("SELECT count(*) FROM cohort_p").await.unwrap().lines(), ["1000"]);
    drop(admin);
}
