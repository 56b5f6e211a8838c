//! What the encoder writes, beside what PostgreSQL 15 prints for the same value.

use std::sync::Arc;

use bytes::BytesMut;
use datafusion::arrow::array::types::*;
use datafusion::arrow::array::*;
use datafusion::arrow::datatypes::{DataType, Field, Fields, IntervalDayTime, IntervalMonthDayNano, Schema, i256};
use kanon_engine::pg_catalog::types::PgType;
use kanon_pg::encode::RowEncoder;
use kanon_pg::encode::time::Zone;
use kanon_pg::params::decode;

fn values(array: ArrayRef, format: i16, zone: &str) -> Vec<Option<Vec<u8>>> {
    let schema = Arc::new(Schema::new(vec![Field::new("c", array.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(schema.clone(), vec![array]).unwrap();
    let encoder = RowEncoder::new(&schema, &[format], Zone::parse(zone)).unwrap();
    let bound = encoder.bind(&batch).unwrap();
    (0..batch.num_rows())
        .map(|row| {
            let mut out = BytesMut::new();
            bound.put_row(row, &mut out).unwrap();
            assert_eq!(out[0], b'D');
            assert_eq!(u32::from_be_bytes(out[1..5].try_into().unwrap()) as usize, out.len() - 1);
            let length = i32::from_be_bytes(out[7..11].try_into().unwrap());
            (length >= 0).then(|| out[11..].to_vec())
        })
        .collect()
}

fn text(array: impl Array + 'static) -> Vec<String> {
    text_in(array, "UTC")
}

fn text_in(array: impl Array + 'static, zone: &str) -> Vec<String> {
    let shown = |value: Option<Vec<u8>>| value.map_or("NULL".to_owned(), |value| String::from_utf8(value).unwrap());
    values(Arc::new(array), 0, zone).into_iter().map(shown).collect()
}

fn binary(array: impl Array + 'static) -> Vec<Vec<u8>> {
    values(Arc::new(array), 1, "UTC").into_iter().map(Option::unwrap).collect()
}

#[test]
fn numbers() {
    assert_eq!(text(BooleanArray::from(vec![Some(true), Some(false), None])), ["t", "f", "NULL"]);
    assert_eq!(
        text(Int64Array::from(vec![i64::MIN, -1, 0, i64::MAX])),
        ["-9223372036854775808", "-1", "0", "9223372036854775807"]
    );
    assert_eq!(text(UInt64Array::from(vec![u64::MAX])), ["18446744073709551615"]);
    let doubles = vec![
        0.0,
        -0.0,
        1.0,
        0.1,
        1.5,
        100000000000000.0,
        1e15,
        123456789012345680.0,
        0.0001,
        0.00001,
        -1.25e-7,
        1e300,
        f64::MIN_POSITIVE,
        1.0 / 3.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        9007199254740993.0,
    ];
    assert_eq!(
        text(Float64Array::from(doubles)),
        [
            "0",
            "-0",
            "1",
            "0.1",
            "1.5",
            "100000000000000",
            "1e+15",
            "1.2345678901234568e+17",
            "0.0001",
            "1e-05",
            "-1.25e-07",
            "1e+300",
            "2.2250738585072014e-308",
            "0.3333333333333333",
            "NaN",
            "Infinity",
            "-Infinity",
            "9.007199254740992e+15",
        ]
    );
    assert_eq!(
        text(Float32Array::from(vec![0.1, 123456.0, 1234567.0, 1e-5, 3.4028235e38, 16777216.0])),
        ["0.1", "123456", "1.234567e+06", "1e-05", "3.4028235e+38", "1.6777216e+07"]
    );
    assert_eq!(text(Float16Array::from_iter_values([half(1.5)])), ["1.5"]);
}

fn half(value: f32) -> <Float16Type as ArrowPrimitiveType>::Native {
    <Float16Type as ArrowPrimitiveType>::Native::from_f32(value)
}

#[test]
fn decimals() {
    let decimal = |scale, values: Vec<i128>| Decimal128Array::from(values).with_precision_and_scale(38, scale).unwrap();
    assert_eq!(text(decimal(2, vec![12345, -5, 0, 100])), ["123.45", "-0.05", "0.00", "1.00"]);
    assert_eq!(text(decimal(0, vec![7])), ["7"]);
    assert_eq!(text(decimal(-3, vec![7, 0])), ["7000", "0"]);
    let wide =
        Decimal256Array::from(vec![i256::from_string("-12345678901234567890123456789012345678901234567890").unwrap()]);
    assert_eq!(
        text(wide.with_precision_and_scale(76, 10).unwrap()),
        ["-1234567890123456789012345678901234567890.1234567890"]
    );
    // select numeric_send(v)
    let sent = |scale, value| binary(decimal(scale, vec![value])).remove(0);
    let words = |words: &[u16]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
    assert_eq!(sent(2, 12345), words(&[2, 0, 0, 2, 123, 4500]));
    assert_eq!(sent(2, -12345), words(&[2, 0, 0x4000, 2, 123, 4500]));
    assert_eq!(sent(2, 0), words(&[0, 0, 0, 2]));
    assert_eq!(sent(6, 5), words(&[1, 0xfffe, 0, 6, 500]));
    assert_eq!(sent(0, 10_000), words(&[1, 1, 0, 0, 1]));
    assert_eq!(sent(4, 123_456_789), words(&[3, 1, 0, 4, 1, 2345, 6789]));
}

#[test]
fn moments() {
    let days = vec![0, -1, 19_782, -719_162, -719_163, 2_932_896, 2_932_897, -2_451_545 + 10_957 - 1 + 1];
    assert_eq!(
        text(Date32Array::from(days))[..7],
        ["1970-01-01", "1969-12-31", "2024-02-29", "0001-01-01", "0001-12-31 BC", "9999-12-31", "10000-01-01"]
    );
    assert_eq!(
        text(TimestampMicrosecondArray::from(vec![0, 1_709_210_096_123_400, -1])),
        ["1970-01-01 00:00:00", "2024-02-29 12:34:56.1234", "1969-12-31 23:59:59.999999"]
    );
    assert_eq!(text(TimestampNanosecondArray::from(vec![1_999])), ["1970-01-01 00:00:00.000001"]);
    let zoned = || TimestampSecondArray::from(vec![1_709_210_096, 1_720_000_000]).with_timezone("UTC");
    assert_eq!(text(zoned()), ["2024-02-29 12:34:56+00", "2024-07-03 09:46:40+00"]);
    assert_eq!(text_in(zoned(), "Europe/Zurich"), ["2024-02-29 13:34:56+01", "2024-07-03 11:46:40+02"]);
    assert_eq!(text_in(zoned(), "Asia/Kolkata")[0], "2024-02-29 18:04:56+05:30");
    assert_eq!(text_in(zoned(), "America/St_Johns")[0], "2024-02-29 09:04:56-03:30");
    assert_eq!(
        text_in(TimestampSecondArray::from(vec![-3_786_825_600]).with_timezone("UTC"), "Europe/Amsterdam")[0].len(),
        28
    );
    assert_eq!(
        text(Time64MicrosecondArray::from(vec![0, 45_296_500_000, 86_400_000_000])),
        ["00:00:00", "12:34:56.5", "24:00:00"]
    );
    assert_eq!(text(Time32SecondArray::from(vec![3_661])), ["01:01:01"]);
    assert_eq!(text(Date64Array::from(vec![86_400_000])), ["1970-01-02 00:00:00"]);
    assert_eq!(binary(Date32Array::from(vec![10_957])), [0i32.to_be_bytes()]);
    assert_eq!(binary(TimestampSecondArray::from(vec![946_684_801])), [1_000_000i64.to_be_bytes()]);
}

#[test]
fn intervals() {
    let interval = |months, days, micros: i64| IntervalMonthDayNano { months, days, nanoseconds: micros * 1_000 };
    let all = vec![
        interval(0, 0, 0),
        interval(14, 3, 14_706_700_000),
        interval(-1, 1, 0),
        interval(0, -1, 3_600_000_000),
        interval(12, 0, 0),
        interval(-25, 0, -1),
        interval(0, 1, -3_600_000_000),
        interval(0, 0, 360_000_000_000),
    ];
    assert_eq!(
        text(IntervalMonthDayNanoArray::from(all)),
        [
            "00:00:00",
            "1 year 2 mons 3 days 04:05:06.7",
            "-1 mons +1 day",
            "-1 days +01:00:00",
            "1 year",
            "-2 years -1 mons -00:00:00.000001",
            "1 day -01:00:00",
            "100:00:00",
        ]
    );
    assert_eq!(text(IntervalDayTimeArray::from(vec![IntervalDayTime::new(2, 1_500)])), ["2 days 00:00:01.5"]);
    assert_eq!(text(DurationMillisecondArray::from(vec![90_061_001])), ["25:01:01.001"]);
}

#[test]
fn strings_and_bytes() {
    assert_eq!(text(StringViewArray::from(vec!["ä", ""])), ["ä", ""]);
    assert_eq!(text(LargeStringArray::from(vec!["x"])), ["x"]);
    assert_eq!(text(BinaryArray::from(vec![b"\x00\xff".as_slice()])), ["\\x00ff"]);
    let dictionary: DictionaryArray<Int8Type> = vec![Some("a"), None, Some("b"), Some("a")].into_iter().collect();
    assert_eq!(text(dictionary), ["a", "NULL", "b", "a"]);
    let empty: DictionaryArray<Int8Type> = vec![None::<&str>].into_iter().collect();
    assert_eq!(text(empty), ["NULL"]);
    assert_eq!(text(NullArray::new(2)), ["NULL", "NULL"]);
}

#[test]
fn arrays_and_records() {
    let list =
        ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None, Some(3)]), None, Some(vec![])]);
    assert_eq!(text(list.clone()), ["{1,NULL,3}", "NULL", "{}"]);
    let words = |words: &[i32]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
    assert_eq!(values(Arc::new(list), 1, "UTC")[0], Some(words(&[1, 1, 23, 3, 1, 4, 1, -1, 4, 3])));
    let mut strings = ListBuilder::new(StringBuilder::new());
    for value in ["a b", "", "null", "x\"y\\z", "{", "plain", "ü"] {
        strings.values().append_value(value);
    }
    strings.append(true);
    assert_eq!(text(strings.finish()), [r#"{"a b","","null","x\"y\\z","{",plain,ü}"#]);
    let mut nested = ListBuilder::new(ListBuilder::new(Int64Builder::new()));
    for row in [[1, 2], [3, 4]] {
        nested.values().values().append_slice(&row);
        nested.values().append(true);
    }
    nested.append(true);
    let nested = nested.finish();
    assert_eq!(text(nested.clone()), ["{{1,2},{3,4}}"]);
    assert_eq!(binary(nested)[0][..28], words(&[2, 0, 20, 2, 1, 2, 1]));
    let record = StructArray::new(
        Fields::from(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true)]),
        vec![
            Arc::new(Int32Array::from(vec![Some(1), None])),
            Arc::new(StringArray::from(vec![Some("a \"b\""), Some("")])),
        ],
        None,
    );
    assert_eq!(text(record), [r#"(1,"a ""b""")"#, r#"(,"")"#]);
}

/// What a parameter of text gives, as text again.
fn parameter(pg_type: PgType, given: &str, target: &DataType) -> Result<String, String> {
    decode(1, Some(given.as_bytes()), 0, pg_type, target, "UTC")
        .map(|value| text(value.to_array().unwrap()).remove(0))
        .map_err(|error| format!("{} {}", error.state.code(), error.message))
}

#[test]
fn parameters_of_text() {
    let ok = |pg_type, given, target, expected: &str| {
        assert_eq!(parameter(pg_type, given, &target).as_deref(), Ok(expected), "{given}")
    };
    ok(PgType::BOOL, "yes", DataType::Boolean, "t");
    ok(PgType::INT4, " 42 ", DataType::Int32, "42");
    ok(PgType::INT4, "42", DataType::Int64, "42");
    ok(PgType::FLOAT8, "-Infinity", DataType::Float64, "-Infinity");
    // A number has the digits that it is sent with, whatever it is put beside.
    ok(PgType::NUMERIC, "1.5e3", DataType::Decimal128(38, 10), "1500");
    ok(PgType::NUMERIC, "-0.005", DataType::Decimal128(10, 2), "-0.005");
    ok(PgType::NUMERIC, "99.995", DataType::Decimal128(10, 2), "99.995");
    ok(PgType::BYTEA, "\\x00fF", DataType::Binary, "\\x00ff");
    ok(PgType::BYTEA, "a\\\\b\\001", DataType::Binary, "\\x615c6201");
    ok(PgType::DATE, "2024-02-29", DataType::Date32, "2024-02-29");
    ok(PgType::UUID, "{550E8400-e29b-41d4-a716-446655440000}", DataType::Utf8, "550e8400-e29b-41d4-a716-446655440000");
    ok(PgType::TEXT, "x", DataType::Utf8View, "x");
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true)));
    ok(PgType::by_oid(1007).unwrap(), "{1, NULL,3}", list, "{1,NULL,3}");
    let texts = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    ok(PgType::by_oid(1009).unwrap(), r#"{a,"b,\"c",NULL,"NULL"}"#, texts.clone(), r#"{a,"b,\"c",NULL,"NULL"}"#);
    let wrong = |pg_type, given, target, expected: &str| {
        assert_eq!(parameter(pg_type, given, &target), Err(expected.to_owned()))
    };
    wrong(PgType::INT4, "abc", DataType::Int32, "22P02 invalid input syntax for type integer: \"abc\"");
    wrong(PgType::INT4, "", DataType::Int32, "22P02 invalid input syntax for type integer: \"\"");
    wrong(PgType::INT2, "40000", DataType::Int16, "22003 value \"40000\" is out of range for type smallint");
    wrong(
        PgType::DATE,
        "yesterday-ish",
        DataType::Date32,
        "22007 invalid input syntax for type date: \"yesterday-ish\"",
    );
    wrong(PgType::NUMERIC, "1e500", DataType::Decimal128(5, 2), "22003 numeric field overflow");
    wrong(PgType::FLOAT8, "1e999", DataType::Float64, "22003 \"1e999\" is out of range for type double precision");
    wrong(PgType::by_oid(1009).unwrap(), "{a", texts, "22P02 malformed array literal: \"{a\"");
}

#[test]
fn parameters_in_binary_come_back_as_they_went_in_and_cut_short_they_are_errors() {
    let arrays: Vec<(PgType, ArrayRef)> = vec![
        (PgType::INT2, Arc::new(Int16Array::from(vec![-2]))),
        (PgType::INT8, Arc::new(Int64Array::from(vec![i64::MIN]))),
        (PgType::FLOAT8, Arc::new(Float64Array::from(vec![-1.5]))),
        (PgType::BOOL, Arc::new(BooleanArray::from(vec![true]))),
        (PgType::DATE, Arc::new(Date32Array::from(vec![-1]))),
        (PgType::TIME, Arc::new(Time64MicrosecondArray::from(vec![1]))),
        (PgType::TIMESTAMP, Arc::new(TimestampMicrosecondArray::from(vec![-5]))),
        (PgType::INTERVAL, Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, -2, 3_000)]))),
        (
            PgType::NUMERIC,
            Arc::new(Decimal128Array::from(vec![-12_345_678_901]).with_precision_and_scale(38, 10).unwrap()),
        ),
        (PgType::NUMERIC, Arc::new(Decimal128Array::from(vec![1]).with_precision_and_scale(38, 10).unwrap())),
        (
            PgType::by_oid(1007).unwrap(),
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None])])),
        ),
    ];
    for (pg_type, array) in arrays {
        let bytes = values(array.clone(), 1, "UTC").remove(0).unwrap();
        let back = decode(1, Some(&bytes), 1, pg_type, array.data_type(), "UTC").unwrap();
        // A number has the digits that it is sent with: in the array's type it is the same.
        let back = back.cast_to(array.data_type()).unwrap();
        assert_eq!(&back.to_array().unwrap(), &array, "{}", pg_type.name);
        for length in 0..bytes.len() {
            let cut = decode(1, Some(&bytes[..length]), 1, pg_type, array.data_type(), "UTC").unwrap_err();
            assert!(["08P01", "22P03"].contains(&cut.state.code()), "{} cut to {length}: {cut}", pg_type.name);
        }
    }
}

mod whatever_comes {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parameters_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40), oid in prop::sample::select(vec![
            16u32, 17, 20, 21, 23, 25, 26, 114, 700, 701, 1042, 1082, 1083, 1114, 1184, 1186, 1700, 2950, 3802, 1007, 1009, 1231, 2249,
        ]), format in 0i16..3) {
            let pg_type = PgType::by_oid(oid).unwrap();
            for target in [DataType::Int32, DataType::Utf8, DataType::Decimal128(38, 10), DataType::Float64, DataType::Date32] {
                let _ = decode(1, Some(&bytes), format, pg_type, &target, "Europe/Zurich");
            }
        }

        #[test]
        fn messages_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), kind in prop::sample::select(b"QPBDECHSXpFdcf".to_vec())) {
            let mut buffer = BytesMut::new();
            buffer.extend_from_slice(&[kind]);
            buffer.extend_from_slice(&(bytes.len() as u32 + 4).to_be_bytes());
            buffer.extend_from_slice(&bytes);
            if let Ok(Some(frame)) = kanon_pg::message::next_frame(&mut buffer, true) {
                let _ = frame.read();
            }
            let mut opening = BytesMut::from(bytes.as_slice());
            let _ = kanon_pg::message::next_opening(&mut opening);
        }

        #[test]
        fn doubles_read_back_as_they_were(value in any::<f64>()) {
            let printed = text(Float64Array::from(vec![value])).remove(0);
            let back: f64 = printed.parse().unwrap();
            prop_assert!(back.to_bits() == value.to_bits() || value.is_nan());
        }
    }
}
