//! PostgreSQL's types, and which of them stands for an Arrow type.
//!
//! Arrow knows fewer types than PostgreSQL: an `oid` is an `UInt32`, a `name` a string. Where the difference matters to a
//! client, a field says so in its metadata ([`annotate`]), and [`PgType::of_field`] reads it.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

use crate::functions::numeric::{QUOTIENT, SHORT};

/// The version that clients are told: ParameterStatus, `SHOW server_version`, and, with the product's own, `version()`.
pub const SERVER_VERSION: &str = "15.18";

/// [`SERVER_VERSION`] as `SHOW server_version_num` has it.
pub const SERVER_VERSION_NUM: &str = "150018";

/// The key of a field's metadata that names its PostgreSQL type (`oid`, `name`, `_text` …).
pub const METADATA_KEY: &str = "kanon.pg_type";

/// The key of a field's metadata with the typmod of its type: the length of `varchar(n)`.
pub const TYPMOD_KEY: &str = "kanon.pg_typmod";

/// A type as PostgreSQL's protocol names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PgType {
    /// Its OID in `pg_type`.
    pub oid: u32,
    /// Its name in `pg_type` (`int4`, `_text`).
    pub name: &'static str,
    /// Bytes of a value; -1 for a variable length, -2 for a C string.
    pub len: i16,
    /// The OID of arrays of it; 0 if there are none (arrays themselves).
    pub array_oid: u32,
    /// The OID of its elements; 0 unless it is an array.
    pub elem_oid: u32,
    /// `typcategory`: `N` numbers, `S` strings, `D` dates and times, `A` arrays …
    pub category: char,
    /// Precision and scale of a numeric; otherwise -1.
    pub typmod: i32,
}

macro_rules! types {
    ($($constant:ident $oid:literal $name:literal $len:literal $array_oid:literal $category:literal;)*) => {
        impl PgType {
            $(#[doc = concat!("`", $name, "`")]
            pub const $constant: PgType = PgType {
                oid: $oid, name: $name, len: $len, array_oid: $array_oid, elem_oid: 0, category: $category, typmod: -1,
            };)*
        }
        const SCALARS: &[PgType] = &[$(PgType::$constant),*];
        const ARRAYS: &[PgType] = &[$(PgType {
            oid: $array_oid, name: concat!("_", $name), len: -1, array_oid: 0, elem_oid: $oid, category: 'A', typmod: -1,
        }),*];
    };
}

types! {
    BOOL 16 "bool" 1 1000 'B';
    BYTEA 17 "bytea" -1 1001 'U';
    CHAR 18 "char" 1 1002 'Z';
    NAME 19 "name" 64 1003 'S';
    INT8 20 "int8" 8 1016 'N';
    INT2 21 "int2" 2 1005 'N';
    INT2VECTOR 22 "int2vector" -1 1006 'A';
    INT4 23 "int4" 4 1007 'N';
    REGPROC 24 "regproc" 4 1008 'N';
    TEXT 25 "text" -1 1009 'S';
    OID 26 "oid" 4 1028 'N';
    XID 28 "xid" 4 1011 'U';
    OIDVECTOR 30 "oidvector" -1 1013 'A';
    JSON 114 "json" -1 199 'U';
    XML 142 "xml" -1 143 'U';
    PG_NODE_TREE 194 "pg_node_tree" -1 0 'Z';
    INET 869 "inet" -1 1041 'I';
    FLOAT4 700 "float4" 4 1021 'N';
    FLOAT8 701 "float8" 8 1022 'N';
    UNKNOWN 705 "unknown" -2 0 'X';
    ACLITEM 1033 "aclitem" 12 1034 'U';
    BPCHAR 1042 "bpchar" -1 1014 'S';
    VARCHAR 1043 "varchar" -1 1015 'S';
    DATE 1082 "date" 4 1182 'D';
    TIME 1083 "time" 8 1183 'D';
    TIMESTAMP 1114 "timestamp" 8 1115 'D';
    TIMESTAMPTZ 1184 "timestamptz" 8 1185 'D';
    INTERVAL 1186 "interval" 16 1187 'T';
    TIMETZ 1266 "timetz" 12 1270 'D';
    NUMERIC 1700 "numeric" -1 1231 'N';
    REGPROCEDURE 2202 "regprocedure" 4 2207 'N';
    REGOPER 2203 "regoper" 4 2208 'N';
    REGOPERATOR 2204 "regoperator" 4 2209 'N';
    REGCLASS 2205 "regclass" 4 2210 'N';
    REGTYPE 2206 "regtype" 4 2211 'N';
    RECORD 2249 "record" -1 2287 'P';
    VOID 2278 "void" 4 0 'P';
    UUID 2950 "uuid" 16 2951 'U';
    PG_LSN 3220 "pg_lsn" 8 3221 'U';
    JSONB 3802 "jsonb" -1 3807 'U';
    REGNAMESPACE 4089 "regnamespace" 4 4090 'N';
    REGROLE 4096 "regrole" 4 4097 'N';
}

impl PgType {
    /// The type that stands for an Arrow type. Nested lists are arrays of several dimensions, which PostgreSQL gives one type.
    pub fn of(data_type: &DataType) -> PgType {
        match data_type {
            DataType::Null => PgType::TEXT,
            DataType::Boolean => PgType::BOOL,
            DataType::Int8 | DataType::UInt8 | DataType::Int16 => PgType::INT2,
            DataType::UInt16 | DataType::Int32 => PgType::INT4,
            DataType::UInt32 | DataType::Int64 => PgType::INT8,
            DataType::UInt64 => PgType::NUMERIC.with_typmod(numeric_typmod(20, 0)),
            DataType::Float16 | DataType::Float32 => PgType::FLOAT4,
            DataType::Float64 => PgType::FLOAT8,
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => match *scale {
                // Each number has its own.
                QUOTIENT | SHORT => PgType::NUMERIC,
                scale => PgType::NUMERIC.with_typmod(numeric_typmod(*precision, scale)),
            },
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => PgType::TEXT,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                PgType::BYTEA
            }
            DataType::Date32 => PgType::DATE,
            DataType::Date64 => PgType::TIMESTAMP,
            DataType::Time32(_) | DataType::Time64(_) => PgType::TIME,
            DataType::Timestamp(_, None) => PgType::TIMESTAMP,
            DataType::Timestamp(_, Some(_)) => PgType::TIMESTAMPTZ,
            DataType::Interval(_) | DataType::Duration(_) => PgType::INTERVAL,
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _) => {
                let item = PgType::of_field(item);
                if item.elem_oid != 0 { item } else { item.array().unwrap_or(PgType::TEXT) }
            }
            DataType::Struct(_) => PgType::RECORD,
            DataType::Map(_, _) => PgType::JSON,
            DataType::Union(_, _) => PgType::TEXT,
            DataType::Dictionary(_, value) => PgType::of(value),
            DataType::RunEndEncoded(_, value) => PgType::of_field(value),
        }
    }

    /// The type that stands for a field: what its metadata names, else [`PgType::of`] its Arrow type.
    pub fn of_field(field: &Field) -> PgType {
        let named = field.metadata().get(METADATA_KEY).and_then(|name| PgType::by_name(name));
        if let Some(named) = named.filter(|named| named.may_be(field.data_type())) {
            let typmod = field.metadata().get(TYPMOD_KEY).and_then(|typmod| typmod.parse().ok());
            return typmod.map_or(named, |typmod| named.with_typmod(typmod));
        }
        match field.metadata().get("ARROW:extension:name").map(String::as_str) {
            Some("arrow.uuid") => PgType::UUID,
            Some("arrow.json") => PgType::JSON,
            _ => PgType::of(field.data_type()),
        }
    }

    /// Whether values of an Arrow type may be of this type: a cast to another type hands on what its argument was called.
    fn may_be(self, data_type: &DataType) -> bool {
        let is_text = matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        match self {
            PgType::OID | PgType::XID | PgType::NUMERIC => data_type.is_numeric(),
            PgType::TEXT | PgType::VARCHAR | PgType::BPCHAR | PgType::NAME | PgType::JSON | PgType::JSONB => {
                is_text || matches!(data_type, DataType::Dictionary(..))
            }
            _ => true,
        }
    }

    /// The built-in type of an OID, if it is one that the wire carries.
    pub fn by_oid(oid: u32) -> Option<PgType> {
        SCALARS.iter().chain(ARRAYS).copied().find(|t| t.oid == oid && oid != 0)
    }

    /// The built-in type of a name in `pg_type` (`int4`, not `integer`).
    pub fn by_name(name: &str) -> Option<PgType> {
        SCALARS.iter().chain(ARRAYS).copied().find(|t| t.name == name && t.oid != 0)
    }

    /// The built-in type of a name as SQL writes it, without regard to case: `integer`, `pg_catalog.int4`, `varchar(10)`, `text[]`.
    pub fn by_sql_name(name: &str) -> Option<PgType> {
        let (name, _) = split_modifiers(name.trim());
        if let Some(element) = name.strip_suffix("[]") {
            return PgType::by_sql_name(element)?.array();
        }
        if name == "\"char\"" || name == "pg_catalog.\"char\"" {
            return Some(PgType::CHAR);
        }
        let name = name.to_ascii_lowercase().replace('"', "");
        let words = name.strip_prefix("pg_catalog.").unwrap_or(&name).split_whitespace().collect::<Vec<_>>().join(" ");
        Some(match words.as_str() {
            "int" | "integer" => PgType::INT4,
            "smallint" => PgType::INT2,
            "bigint" => PgType::INT8,
            "real" => PgType::FLOAT4,
            "double precision" | "double" | "float" => PgType::FLOAT8,
            "decimal" | "dec" => PgType::NUMERIC,
            "boolean" => PgType::BOOL,
            "character varying" | "string" => PgType::VARCHAR,
            "char" | "character" => PgType::BPCHAR,
            "timestamp without time zone" => PgType::TIMESTAMP,
            "timestamp with time zone" => PgType::TIMESTAMPTZ,
            "time without time zone" => PgType::TIME,
            "time with time zone" => PgType::TIMETZ,
            other => return PgType::by_name(other),
        })
    }

    /// Arrays of it.
    pub fn array(self) -> Option<PgType> {
        PgType::by_oid(self.array_oid)
    }

    /// What it is an array of.
    pub fn element(self) -> Option<PgType> {
        PgType::by_oid(self.elem_oid)
    }

    /// The same type with another typmod.
    pub fn with_typmod(self, typmod: i32) -> PgType {
        PgType { typmod, ..self }
    }

    /// The SQL name of the type alone, as errors and `pg_typeof` give it: `character`, `numeric`.
    pub fn plain_name(self) -> String {
        if self.oid == PgType::BPCHAR.oid { "character".to_owned() } else { self.with_typmod(-1).sql_name() }
    }

    /// The SQL name with its modifiers, as `format_type` gives it: `timestamp without time zone`, `numeric(10,2)`, `text[]`.
    pub fn sql_name(self) -> String {
        if let Some(element) = self.element() {
            return format!("{}[]", element.with_typmod(self.typmod).sql_name());
        }
        let name = match self.name {
            "bool" => "boolean",
            "char" => "\"char\"",
            "int2" => "smallint",
            "int4" => "integer",
            "int8" => "bigint",
            "float4" => "real",
            "float8" => "double precision",
            "bpchar" if self.typmod < 4 => "bpchar",
            "bpchar" => return format!("character({})", self.typmod - 4),
            "varchar" if self.typmod < 4 => "character varying",
            "varchar" => return format!("character varying({})", self.typmod - 4),
            "time" => "time without time zone",
            "timetz" => "time with time zone",
            "timestamp" => "timestamp without time zone",
            "timestamptz" => "timestamp with time zone",
            other => other,
        };
        match numeric_of_typmod(self.typmod) {
            Some((precision, scale)) if self.oid == PgType::NUMERIC.oid => format!("{name}({precision},{scale})"),
            _ => name.to_owned(),
        }
    }
}

/// The Arrow type of a type's name in SQL (`int4`, `double precision`, `numeric(10,2)`, `text[]`).
pub fn arrow_of_name(name: &str) -> Option<DataType> {
    let (base, modifiers) = split_modifiers(name);
    if let (Some(PgType::NUMERIC), Some(modifiers)) = (PgType::by_sql_name(&base), modifiers) {
        let mut numbers = modifiers.split(',').map(|n| n.trim().parse::<i8>());
        let precision = u8::try_from(numbers.next()?.ok()?).ok().filter(|p| (1..=38).contains(p))?;
        let scale = numbers.next().transpose().ok()?.unwrap_or(0);
        return Some(DataType::Decimal128(precision, scale));
    }
    arrow_of(PgType::by_sql_name(&base)?.oid)
}

/// A type's name without `(…)`, and what was in the parentheses.
fn split_modifiers(name: &str) -> (String, Option<&str>) {
    match name.split_once('(').and_then(|(head, tail)| Some((head, tail.split_once(')')?))) {
        Some((head, (modifiers, tail))) => (format!("{}{}", head.trim_end(), tail), Some(modifiers)),
        None => (name.to_owned(), None),
    }
}

/// Marks a field as of a PostgreSQL type that its Arrow type alone does not tell.
pub fn annotate(field: Field, pg_type: PgType) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(METADATA_KEY.to_owned(), pg_type.name.to_owned());
    field.with_metadata(metadata)
}

/// The typmod of `numeric(precision, scale)`.
pub fn numeric_typmod(precision: u8, scale: i8) -> i32 {
    ((i32::from(precision) << 16) | (i32::from(scale) & 0x7ff)) + 4
}

/// Precision and scale of a numeric's typmod; `None` if it has none.
pub fn numeric_of_typmod(typmod: i32) -> Option<(i32, i32)> {
    if typmod < 4 {
        return None;
    }
    let bits = typmod - 4;
    let scale = ((bits & 0x7ff) ^ 0x400) - 0x400;
    Some(((bits >> 16) & 0xffff, scale))
}

/// The Arrow type for a parameter of a PostgreSQL type; `None` if the client leaves it open (0, `unknown`) or it is not carried.
/// A numeric has 10 digits after the point: what a client sends beyond is rounded.
pub fn arrow_of(oid: u32) -> Option<DataType> {
    let pg_type = PgType::by_oid(oid)?;
    if let Some(element) = pg_type.element() {
        let item = arrow_of(element.oid)?;
        return Some(DataType::List(Arc::new(Field::new_list_field(item, true))));
    }
    Some(match pg_type {
        PgType::BOOL => DataType::Boolean,
        PgType::INT2 => DataType::Int16,
        PgType::INT4 => DataType::Int32,
        PgType::INT8 => DataType::Int64,
        PgType::OID | PgType::XID => DataType::UInt32,
        PgType::FLOAT4 => DataType::Float32,
        PgType::FLOAT8 => DataType::Float64,
        PgType::NUMERIC => DataType::Decimal128(38, 10),
        PgType::BYTEA => DataType::Binary,
        PgType::DATE => DataType::Date32,
        PgType::TIME => DataType::Time64(TimeUnit::Microsecond),
        PgType::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        PgType::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        PgType::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        PgType::TEXT
        | PgType::VARCHAR
        | PgType::BPCHAR
        | PgType::NAME
        | PgType::CHAR
        | PgType::JSON
        | PgType::JSONB
        | PgType::XML
        | PgType::UUID
        | PgType::INET
        | PgType::REGCLASS
        | PgType::REGTYPE
        | PgType::REGPROC
        | PgType::REGNAMESPACE
        | PgType::REGROLE => DataType::Utf8,
        PgType::INT2VECTOR => DataType::List(Arc::new(Field::new_list_field(DataType::Int16, true))),
        PgType::OIDVECTOR => DataType::List(Arc::new(Field::new_list_field(DataType::UInt32, true))),
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn numeric_carries_precision_and_scale() {
        let pg_type = PgType::of(&DataType::Decimal128(10, 2));
        assert_eq!((pg_type.oid, pg_type.typmod), (1700, 655_366));
        assert_eq!(pg_type.sql_name(), "numeric(10,2)");
        assert_eq!(numeric_of_typmod(numeric_typmod(5, -3)), Some((5, -3)));
        assert_eq!(numeric_of_typmod(-1), None);
    }

    #[test]
    fn lists_are_arrays_of_one_type_whatever_their_depth() {
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        assert_eq!(PgType::of(&list(DataType::Int32)).name, "_int4");
        assert_eq!(PgType::of(&list(list(DataType::Int32))).name, "_int4");
        assert_eq!(PgType::of(&list(DataType::Utf8)).sql_name(), "text[]");
    }

    #[test]
    fn metadata_decides_before_the_arrow_type() {
        let field = Field::new("oid", DataType::UInt32, false);
        assert_eq!(PgType::of_field(&field), PgType::INT8);
        assert_eq!(PgType::of_field(&annotate(field, PgType::OID)), PgType::OID);
    }

    #[test]
    fn types_are_found_by_the_names_sql_writes() {
        assert_eq!(PgType::by_sql_name("character varying(10)"), Some(PgType::VARCHAR));
        assert_eq!(PgType::by_sql_name("pg_catalog.INT4"), Some(PgType::INT4));
        assert_eq!(PgType::by_sql_name("Double  Precision").map(|t| t.oid), Some(701));
        assert_eq!(PgType::by_sql_name("text[]").map(|t| t.oid), Some(1009));
        assert_eq!(PgType::by_sql_name("nosuch"), None);
        assert_eq!(arrow_of_name("NUMERIC(10,2)"), Some(DataType::Decimal128(10, 2)));
        assert_eq!(arrow_of_name("INT"), Some(DataType::Int32));
    }

    #[test]
    fn parameters_come_back_as_the_type_they_went_in() {
        for oid in [16, 17, 20, 21, 23, 25, 700, 701, 1082, 1083, 1114, 1184, 1186, 1700, 1007, 1009] {
            assert_eq!(PgType::of(&arrow_of(oid).unwrap()).oid, oid);
        }
        assert_eq!(arrow_of(0), None);
        assert_eq!(arrow_of(705), None);
    }
}
