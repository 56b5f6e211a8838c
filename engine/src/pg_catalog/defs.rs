//! What there is: the relations of `pg_catalog` and `information_schema` with their columns, and the built-in types.
//!
//! Names, OIDs and types are PostgreSQL 15's, kept as data: `schema.name oid kind: column type[?], …`, `?` for nullable.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::types::{PgType, annotate};

/// A relation of the system schemas.
#[derive(Debug)]
pub(crate) struct Relation {
    /// `pg_catalog` or `information_schema`.
    pub schema_name: &'static str,
    /// Its name.
    pub name: &'static str,
    /// PostgreSQL's OID of it.
    pub oid: u32,
    /// `r` or `v`.
    pub kind: &'static str,
    /// Its columns, annotated with their PostgreSQL types.
    pub schema: SchemaRef,
}

/// A row of `pg_type` without arrays, which follow from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TypeRow {
    pub oid: u32,
    pub name: &'static str,
    pub len: i16,
    pub by_value: bool,
    pub kind: &'static str,
    pub category: &'static str,
    pub preferred: bool,
    pub element: u32,
    pub array: u32,
    pub input: &'static str,
    pub output: &'static str,
    pub receive: &'static str,
    pub send: &'static str,
    pub typmod_in: &'static str,
    pub typmod_out: &'static str,
    pub align: &'static str,
    pub storage: &'static str,
    pub collation: u32,
    pub delimiter: &'static str,
    pub subscript: &'static str,
}

/// A function of `pg_proc`.
#[derive(Debug, Clone)]
pub(crate) struct Procedure {
    pub oid: u32,
    pub name: &'static str,
    /// `f`, `a` or `w`.
    pub kind: &'static str,
    pub volatility: &'static str,
    pub strict: bool,
    pub returns_set: bool,
    pub result: u32,
    pub arguments: Vec<u32>,
}

/// The relations, in the order of their data.
pub(crate) static RELATIONS: LazyLock<Vec<Relation>> =
    LazyLock::new(|| include_str!("data/relations.txt").lines().filter_map(parse_relation).collect());

/// Scalar and range types, without their arrays.
pub(crate) static TYPES: LazyLock<Vec<TypeRow>> =
    LazyLock::new(|| include_str!("data/types.txt").lines().filter_map(parse_type).collect());

/// Functions that exist here, and those that types name.
pub(crate) static PROCEDURES: LazyLock<Vec<Procedure>> =
    LazyLock::new(|| include_str!("data/procedures.txt").lines().filter_map(parse_procedure).collect());

/// What `pg_get_keywords()` answers, under a name that no relation has.
pub(crate) static KEYWORDS_RELATION: LazyLock<Relation> = LazyLock::new(|| Relation {
    schema_name: "pg_catalog",
    name: "pg_get_keywords()",
    oid: 0,
    kind: "f",
    schema: Arc::new(Schema::new(vec![
        field("word", "text", true),
        field("catcode", "char", true),
        field("barelabel", "bool", true),
        field("catdesc", "text", true),
        field("baredesc", "text", true),
    ])),
});

static BY_NAME: LazyLock<HashMap<(&'static str, &'static str), usize>> =
    LazyLock::new(|| RELATIONS.iter().enumerate().map(|(i, r)| ((r.schema_name, r.name), i)).collect());

static PROCEDURE_OIDS: LazyLock<HashMap<&'static str, u32>> = LazyLock::new(|| {
    let mut oids = HashMap::new();
    for procedure in PROCEDURES.iter() {
        oids.entry(procedure.name).or_insert(procedure.oid);
    }
    oids
});

/// The relation of a name.
pub(crate) fn relation(schema_name: &str, name: &str) -> Option<&'static Relation> {
    BY_NAME.get(&(schema_name, name)).and_then(|i| RELATIONS.get(*i))
}

/// The relation of a name, or what a function of the catalog answers.
pub(crate) fn relation_or_function(schema_name: &str, name: &str) -> Option<&'static Relation> {
    let keywords = Some(&*KEYWORDS_RELATION).filter(|rows| (rows.schema_name, rows.name) == (schema_name, name));
    relation(schema_name, name).or(keywords)
}

/// The OID of the function of a name (the first, if it is overloaded); 0 for `-` and names that are not known.
pub(crate) fn procedure_oid(name: &str) -> u32 {
    PROCEDURE_OIDS.get(name).copied().unwrap_or(0)
}

fn parse_relation(line: &'static str) -> Option<Relation> {
    let (head, columns) = line.split_once(": ")?;
    let mut head = head.split(' ');
    let (schema_name, name) = head.next()?.split_once('.')?;
    let oid = head.next()?.parse().ok()?;
    let kind = head.next()?;
    let fields: Vec<Field> = columns
        .split(", ")
        .filter_map(|column| {
            let (name, type_name) = column.split_once(' ')?;
            let bare = type_name.trim_end_matches('?');
            Some(field(name, bare, bare.len() != type_name.len()))
        })
        .collect();
    Some(Relation { schema_name, name, oid, kind, schema: Arc::new(Schema::new(fields)) })
}

/// A field for a column of a named PostgreSQL type. What the wire has no type for goes as text.
fn field(name: &str, type_name: &str, nullable: bool) -> Field {
    let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
    let (data_type, named) = match type_name {
        "bool" => (DataType::Boolean, None),
        "int2" => (DataType::Int16, None),
        "int4" => (DataType::Int32, None),
        "int8" => (DataType::Int64, None),
        "float4" => (DataType::Float32, None),
        "float8" => (DataType::Float64, None),
        "oid" => (DataType::UInt32, Some(PgType::OID)),
        "xid" => (DataType::UInt32, Some(PgType::XID)),
        "regproc" => (DataType::UInt32, Some(PgType::REGPROC)),
        "regtype" => (DataType::UInt32, Some(PgType::REGTYPE)),
        "bytea" => (DataType::Binary, None),
        "timestamptz" => (DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), None),
        "varchar" => (DataType::Utf8, Some(PgType::VARCHAR)),
        "varchar(3)" => (DataType::Utf8, Some(PgType::VARCHAR)),
        "name" => (DataType::Utf8, Some(PgType::NAME)),
        "char" => (DataType::Utf8, Some(PgType::CHAR)),
        "int2vector" => (list(DataType::Int16), Some(PgType::INT2VECTOR)),
        "oidvector" => (list(DataType::UInt32), Some(PgType::OIDVECTOR)),
        "_oid" => (list(DataType::UInt32), PgType::OID.array()),
        "_int2" => (list(DataType::Int16), None),
        "_float4" => (list(DataType::Float32), None),
        "_text" => (list(DataType::Utf8), None),
        "_name" => (list(DataType::Utf8), PgType::NAME.array()),
        "_regtype" => (list(DataType::Utf8), PgType::REGTYPE.array()),
        "_char" => (list(DataType::Utf8), PgType::CHAR.array()),
        "_aclitem" => (list(DataType::Utf8), PgType::ACLITEM.array()),
        _ => (DataType::Utf8, None),
    };
    let field = Field::new(name, data_type, nullable);
    match named {
        Some(pg_type) => annotate(field, pg_type),
        None => field,
    }
}

fn parse_type(line: &'static str) -> Option<TypeRow> {
    let mut words = line.split(' ');
    let mut next = || words.next();
    Some(TypeRow {
        oid: next()?.parse().ok()?,
        name: next()?,
        len: next()?.parse().ok()?,
        by_value: next()? == "t",
        kind: next()?,
        category: next()?,
        preferred: next()? == "t",
        element: next()?.parse().ok()?,
        array: next()?.parse().ok()?,
        input: next()?,
        output: next()?,
        receive: next()?,
        send: next()?,
        typmod_in: next()?,
        typmod_out: next()?,
        align: next()?,
        storage: next()?,
        collation: next()?.parse().ok()?,
        delimiter: next()?,
        subscript: next()?,
    })
}

fn parse_procedure(line: &'static str) -> Option<Procedure> {
    let mut words = line.split(' ');
    let mut next = || words.next();
    Some(Procedure {
        oid: next()?.parse().ok()?,
        name: next()?,
        kind: next()?,
        volatility: next()?,
        strict: next()? == "t",
        returns_set: next()? == "t",
        result: next()?.parse().ok()?,
        arguments: next().map(|list| list.split(',').filter_map(|oid| oid.parse().ok()).collect()).unwrap_or_default(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_data_is_read() {
        assert_eq!(RELATIONS.len(), include_str!("data/relations.txt").lines().count());
        assert_eq!(TYPES.len(), include_str!("data/types.txt").lines().count());
        assert_eq!(PROCEDURES.len(), include_str!("data/procedures.txt").lines().count());
        let class = relation("pg_catalog", "pg_class").unwrap();
        assert_eq!((class.oid, class.schema.fields().len()), (1259, 33));
    }

    #[test]
    fn the_types_of_the_wire_are_those_of_the_catalog() {
        for row in TYPES.iter() {
            if let Some(wire) = PgType::by_oid(row.oid) {
                assert_eq!((wire.name, wire.len, wire.array_oid), (row.name, row.len, row.array), "{}", row.name);
                assert_eq!(wire.category.to_string(), row.category, "{}", row.name);
            }
        }
    }
}
