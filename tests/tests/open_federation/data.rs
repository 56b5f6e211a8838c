//! Four sites' parts of two tables, and a small table that only the coordinator has. The same every time.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;

/// The sites, by name. The last has no rows at all.
pub const SITES: [&str; 4] = ["basel", "geneva", "lugano", "zug"];
const ROWS: [usize; 4] = [170, 110, 60, 0];

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// Columns by name.
fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

/// The part of table `heart` at a site. Floats in `chol` are quarters, so that their sums are exact; those in `st` are not.
pub fn heart(site: usize) -> RecordBatch {
    let mut random = Random(100 + site as u64);
    let n = ROWS[site];
    let mut some = |percent: usize| random.chance(percent);
    let missing: Vec<[bool; 6]> = (0..n).map(|_| [some(6), some(10), some(15), some(12), some(8), some(10)]).collect();
    let mut random = Random(200 + site as u64);
    let mut age = Vec::new();
    let mut st = Vec::new();
    let mut chol = Vec::new();
    for missing in &missing {
        let years = 29 + random.below(48) as i32;
        age.push(Some(years));
        chol.push((!missing[2]).then(|| 120.0 + f64::from(years) + random.below(400) as f64 / 4.0));
        st.push((!missing[3]).then(|| 0.1 + random.below(60) as f64 / 10.0 + f64::from(years) / 100.0));
    }
    let mut text = |values: &[&'static str], column: usize| -> ArrayRef {
        Arc::new(StringArray::from_iter((0..n).map(|row| {
            let value = random.pick(values);
            (!missing[row][column]).then_some(value)
        })))
    };
    let sex = text(&["male", "male", "female"], 0);
    let pain = text(&["typical", "atypical", "non-anginal", "none at all"], 1);
    let mut random = Random(300 + site as u64);
    let numbers: Vec<[usize; 6]> = (0..n).map(|_| std::array::from_fn(|_| random.below(1_000_000))).collect();
    let id = (0..n).map(|row| (1 + row * 4 + site) as i64);
    let bp = (0..n).map(|row| (!missing[row][4]).then(|| 90 + (numbers[row][0] % 80) as i64));
    let bill = (0..n).map(|row| (!missing[row][5]).then(|| numbers[row][1] as i128 % 50_000));
    let angina = (0..n).map(|row| (!missing[row][1]).then(|| numbers[row][2].is_multiple_of(3)));
    let ward = (0..n).map(|row| Some((numbers[row][3] % 6) as i32));
    let seen = (0..n).map(|row| (!missing[row][0]).then(|| 18_000 + (numbers[row][4] % 900) as i32));
    let at = (0..n).map(|row| (!missing[row][2]).then(|| 1_600_000_000_000_000 + numbers[row][5] as i64 * 40_000_000));
    batch(vec![
        ("id", Arc::new(Int64Array::from_iter_values(id))),
        ("sex", sex),
        ("pain", pain),
        ("age", Arc::new(Int32Array::from(age))),
        ("bp", Arc::new(Int64Array::from_iter(bp))),
        ("chol", Arc::new(Float64Array::from(chol))),
        ("st", Arc::new(Float64Array::from(st))),
        ("bill", Arc::new(Decimal128Array::from_iter(bill).with_precision_and_scale(10, 2).unwrap())),
        ("angina", Arc::new(BooleanArray::from_iter(angina))),
        ("ward", Arc::new(Int32Array::from_iter(ward))),
        ("seen", Arc::new(Date32Array::from_iter(seen))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter(at))),
    ])
}

/// The part of table `visits` at a site: of patients of any site.
pub fn visits(site: usize) -> RecordBatch {
    let mut random = Random(400 + site as u64);
    let n = [90, 0, 70, 40][site];
    let rows: Vec<[usize; 4]> = (0..n).map(|_| std::array::from_fn(|_| random.below(1_000_000))).collect();
    batch(vec![
        ("id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| (r[0] % 700) as i64)))),
        ("kind", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| ["er", "ward", "phone"][r[1] % 3])))),
        ("cost", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| (r[2] % 4_000) as f64 / 4.0)))),
        ("n", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| (r[3] % 9) as i64)))),
    ])
}

/// Table `wards`, which only the coordinator has.
pub fn wards() -> RecordBatch {
    batch(vec![
        ("ward", Arc::new(Int32Array::from(vec![0, 1, 2, 3, 4]))),
        ("name", Arc::new(StringArray::from(vec!["north", "south", "east", "west", "attic"]))),
        ("floor", Arc::new(Int32Array::from(vec![Some(0), Some(0), Some(1), Some(1), None]))),
    ])
}

/// A part with the column `site` that a federated table has.
pub fn with_site(part: &RecordBatch, site: &str) -> RecordBatch {
    let names: Vec<String> = part.schema().fields().iter().map(|f| f.name().clone()).collect();
    let site: ArrayRef = Arc::new(StringArray::from(vec![site; part.num_rows()]));
    let columns = names.iter().map(String::as_str).zip(part.columns().iter().cloned()).chain([("site", site)]);
    batch(columns.collect())
}

/// All parts of a federated table.
pub fn union(part: impl Fn(usize) -> RecordBatch) -> (SchemaRef, Vec<RecordBatch>) {
    let parts: Vec<RecordBatch> = SITES.iter().enumerate().map(|(i, site)| with_site(&part(i), site)).collect();
    (parts[0].schema(), parts)
}

/// A Parquet file.
pub fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}
