//! Which functions may run over protected rows: an allow-list of total, deterministic ones, by name.
//!
//! A name that is in no list is refused. A test walks every registry of the query engine and asserts that each name is in one.

/// What becomes of a scalar function below the boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// It never fails: it runs as it is.
    Total,
    /// It may fail on some rows: it runs with NULL for those (see [`crate::checked::guarded`]).
    Guarded,
    /// The same, and the argument at this position (a pattern, a format, a length) must be a literal that is tried when planning.
    Literal(usize),
    /// It does not run there.
    Refused,
}

/// What becomes of an aggregate or window function below the boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// A measure of a release, and within a unit.
    Measure,
    /// Only within a unit: per-unit GROUP BY and windows partitioned by the unit.
    WithinUnit,
    /// Not at all.
    Refused,
}

const TOTAL: &[&str] = &[
    "bit_length",
    "character_length",
    "coalesce",
    "ends_with",
    "greatest",
    "isnan",
    "iszero",
    "age",
    "kanon_elapsed",
    "kanon_interval_times",
    "kanon_rint",
    "kanon_timestamp_text",
    "least",
    "lower",
    "nullif",
    "nvl",
    "nvl2",
    "octet_length",
    "pi",
    "starts_with",
    "upper",
];

const GUARDED: &[&str] = &[
    "abs",
    "acos",
    "acosh",
    "ascii",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "btrim",
    "cbrt",
    "ceil",
    "chr",
    "concat",
    "concat_ws",
    "contains",
    "cos",
    "cosh",
    "cot",
    "date_bin",
    "degrees",
    "exp",
    "factorial",
    "find_in_set",
    "floor",
    "from_unixtime",
    "gcd",
    "get_field",
    "initcap",
    "lcm",
    "left",
    "levenshtein",
    "ln",
    "log",
    "log10",
    "log2",
    "ltrim",
    "make_date",
    "make_time",
    "nanvl",
    "overlay",
    "power",
    "radians",
    "replace",
    "reverse",
    "right",
    "round",
    "rtrim",
    "signum",
    "sin",
    "sinh",
    "split_part",
    "sqrt",
    "strpos",
    "substr",
    "substr_index",
    "tan",
    "tanh",
    "to_date",
    "to_hex",
    "to_local_time",
    "to_time",
    "to_timestamp",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_nanos",
    "to_timestamp_seconds",
    "to_unixtime",
    "translate",
    "trunc",
    "width_bucket",
];

/// A pattern, format, field or length that must be a literal, and where it stands.
const LITERAL: &[(&str, usize)] = &[
    ("date_part", 0),
    ("date_trunc", 0),
    ("lpad", 1),
    ("regexp_count", 1),
    ("regexp_instr", 1),
    ("regexp_like", 1),
    ("regexp_replace", 1),
    ("rpad", 1),
    ("timezone", 0),
    ("to_char", 1),
];

/// Not deterministic, telling of the machine or the file, making lists, maps and structs, or growing without bound.
const REFUSED: &[&str] = &[
    "array_add",
    "array_any_value",
    "array_append",
    "array_avg",
    "array_compact",
    "array_concat",
    "array_dims",
    "array_distance",
    "array_distinct",
    "array_element",
    "array_except",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_intersect",
    "array_length",
    "array_max",
    "array_min",
    "array_ndims",
    "array_normalize",
    "array_pop_back",
    "array_pop_front",
    "array_position",
    "array_positions",
    "array_prepend",
    "array_product",
    "array_remove",
    "array_remove_all",
    "array_remove_n",
    "array_repeat",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_resize",
    "array_reverse",
    "array_scale",
    "array_slice",
    "array_sort",
    "array_subtract",
    "array_sum",
    "array_to_string",
    "array_union",
    "arrays_zip",
    "arrow_cast",
    "arrow_field",
    "arrow_metadata",
    "arrow_try_cast",
    "arrow_typeof",
    "cardinality",
    "cast_to_type",
    "cosine_distance",
    "current_date",
    "current_time",
    "decode",
    "digest",
    "empty",
    "encode",
    "file_row_index",
    "flatten",
    "generate_series",
    "inner_product",
    "input_file_name",
    "make_array",
    "map",
    "map_entries",
    "map_extract",
    "map_keys",
    "map_values",
    "md5",
    "named_struct",
    "now",
    "random",
    "range",
    "regexp_match",
    "repeat",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "string_to_array",
    "struct",
    "try_cast_to_type",
    "union_extract",
    "union_tag",
    "uuid",
    "version",
    "with_metadata",
];

const MEASURES: &[&str] = &[
    "approx_median",
    "approx_percentile_cont",
    "avg",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "median",
    "percentile_cont",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "sum",
    "var",
    "var_pop",
];

/// The parts of averages and moments that only peers may ask for.
pub const PARTS: &[&str] = &[
    "kanon_part_avg",
    "kanon_part_avg_x",
    "kanon_part_avg_y",
    "kanon_part_c2",
    "kanon_part_count",
    "kanon_part_m2",
    "kanon_part_m2_x",
    "kanon_part_m2_y",
    "kanon_part_sum",
];

const WITHIN_UNIT: &[&str] = &["max", "min"];

const REFUSED_AGGREGATES: &[&str] = &[
    "any_value",
    "approx_distinct",
    "approx_percentile_cont_with_weight",
    "array_agg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "first_value",
    "grouping",
    "last_value",
    "nth_value",
    "string_agg",
];

const WINDOWS: &[&str] = &[
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];

/// The rule for a scalar function. `None`: in no list, so refused.
pub fn scalar(name: &str) -> Option<Scalar> {
    if TOTAL.contains(&name) {
        return Some(Scalar::Total);
    }
    if GUARDED.contains(&name) {
        return Some(Scalar::Guarded);
    }
    if let Some((_, at)) = LITERAL.iter().find(|(n, _)| *n == name) {
        return Some(Scalar::Literal(*at));
    }
    REFUSED.contains(&name).then_some(Scalar::Refused)
}

/// The rule for an aggregate function. `None`: in no list, so refused.
pub fn aggregate(name: &str) -> Option<Aggregate> {
    if MEASURES.contains(&name) || PARTS.contains(&name) {
        return Some(Aggregate::Measure);
    }
    if WITHIN_UNIT.contains(&name) {
        return Some(Aggregate::WithinUnit);
    }
    REFUSED_AGGREGATES.contains(&name).then_some(Aggregate::Refused)
}

/// Whether a window function (not an aggregate used as one) may run within a unit's rows.
pub fn window(name: &str) -> bool {
    WINDOWS.contains(&name)
}

/// Functions that make rows: they are relations of the query's own making, never of protected rows.
pub fn table(name: &str) -> bool {
    matches!(name, "generate_series" | "range")
}

/// Functions that take a function: none runs over protected rows.
pub fn higher_order(name: &str) -> Option<Scalar> {
    matches!(name, "array_any_match" | "array_filter" | "array_first" | "array_transform").then_some(Scalar::Refused)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn no_function_is_in_two_lists() {
        let mut all: Vec<&str> =
            TOTAL.iter().chain(GUARDED).chain(REFUSED).copied().chain(LITERAL.iter().map(|(n, _)| *n)).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a function is in two lists");
    }

    #[test]
    fn unknown_names_are_in_no_list() {
        assert_eq!(scalar("pg_read_file"), None);
        assert_eq!(aggregate("leak"), None);
        assert!(!window("leak") && !table("read_csv"));
    }
}
