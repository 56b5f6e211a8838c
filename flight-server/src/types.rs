//! The types that columns can be of, as ODBC and JDBC number them: what GetXdbcTypeInfo answers.

use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode};
use kanon_engine::error::{Error, Result};

use XdbcDataType::{
    XdbcBigint, XdbcBit, XdbcDate, XdbcDatetime, XdbcDouble, XdbcInteger, XdbcInterval, XdbcLongvarchar, XdbcNumeric,
    XdbcReal, XdbcSmallint, XdbcTime, XdbcTimestamp, XdbcVarbinary, XdbcVarchar,
};

/// The answers to GetXdbcTypeInfo, by number and then by how near a type is to it, as ODBC's SQLGetTypeInfo orders them.
pub(crate) fn xdbc_type_info() -> Result<XdbcTypeInfoData> {
    let mut all = vec![
        // A binary number's size is in bits, that of others in decimal digits; of dates and times in characters.
        number("smallint", XdbcSmallint, 16, 2),
        number("integer", XdbcInteger, 32, 2),
        number("bigint", XdbcBigint, 64, 2),
        number("real", XdbcReal, 24, 2),
        number("double precision", XdbcDouble, 53, 2),
        XdbcTypeInfo {
            create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
            minimum_scale: Some(0),
            maximum_scale: Some(38),
            ..number("numeric", XdbcNumeric, 38, 10)
        },
        XdbcTypeInfo { searchable: Searchable::Basic, ..plain("boolean", XdbcBit, 1) },
        text("text", XdbcLongvarchar),
        XdbcTypeInfo { create_params: Some(vec!["max length".to_owned()]), ..text("character varying", XdbcVarchar) },
        text("json", XdbcLongvarchar),
        text("jsonb", XdbcLongvarchar),
        text("uuid", XdbcVarchar),
        XdbcTypeInfo { searchable: Searchable::Basic, ..quoted("bytea", XdbcVarbinary, i32::MAX) },
        datetime("date", XdbcDate, 10, XdbcDatetimeSubcode::XdbcSubcodeYear),
        fractional(datetime("time", XdbcTime, 15, XdbcDatetimeSubcode::XdbcSubcodeTime)),
        fractional(datetime("timestamp", XdbcTimestamp, 26, XdbcDatetimeSubcode::XdbcSubcodeTimestamp)),
        fractional(datetime(
            "timestamp with time zone",
            XdbcTimestamp,
            32,
            XdbcDatetimeSubcode::XdbcSubcodeTimestampWithTimezone,
        )),
        XdbcTypeInfo { interval_precision: Some(6), ..quoted("interval", XdbcInterval, 49) },
    ];
    all.sort_by_key(|info| info.data_type as i32);
    let mut types = XdbcTypeInfoDataBuilder::new();
    all.into_iter().for_each(|info| types.append(info));
    types.build().map_err(Error::internal)
}

fn plain(name: &str, data_type: XdbcDataType, size: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type,
        column_size: Some(size),
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        local_type_name: Some(name.to_owned()),
        sql_data_type: data_type,
        ..XdbcTypeInfo::default()
    }
}

fn number(name: &str, data_type: XdbcDataType, size: i32, radix: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        unsigned_attribute: Some(false),
        auto_increment: Some(false),
        num_prec_radix: Some(radix),
        searchable: Searchable::Basic,
        ..plain(name, data_type, size)
    }
}

fn quoted(name: &str, data_type: XdbcDataType, size: i32) -> XdbcTypeInfo {
    let quote = Some("'".to_owned());
    XdbcTypeInfo { literal_prefix: quote.clone(), literal_suffix: quote, ..plain(name, data_type, size) }
}

fn text(name: &str, data_type: XdbcDataType) -> XdbcTypeInfo {
    XdbcTypeInfo { case_sensitive: true, ..quoted(name, data_type, i32::MAX) }
}

fn datetime(name: &str, data_type: XdbcDataType, size: i32, subcode: XdbcDatetimeSubcode) -> XdbcTypeInfo {
    XdbcTypeInfo {
        sql_data_type: XdbcDatetime,
        datetime_subcode: Some(subcode),
        searchable: Searchable::Basic,
        ..quoted(name, data_type, size)
    }
}

/// To the microsecond.
fn fractional(info: XdbcTypeInfo) -> XdbcTypeInfo {
    XdbcTypeInfo { minimum_scale: Some(0), maximum_scale: Some(6), ..info }
}
