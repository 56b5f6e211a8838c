//! A session's settings: each declared once, with its type, default and purpose; SET, RESET, SHOW and `pg_settings` come from here.

mod declared;

use std::collections::HashMap;

use datafusion::arrow::array::timezone::Tz;

use crate::error::{Error, Result, Sqlstate};

pub use declared::SETTINGS;

use SettingKind::{Bool, Duration, Enum, Fixed, Int, Text};

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingKind {
    /// Any text.
    Text,
    /// on/off, true/false, yes/no, 1/0.
    Bool,
    /// A whole number in a range.
    Int(i64, i64),
    /// A time: a number of milliseconds, or a number with `us`, `ms`, `s`, `min`, `h`, `d`; kept in milliseconds, 0 means none.
    Duration,
    /// One of some words.
    Enum(&'static [&'static str]),
    /// Told by the node; SET is refused (55P02 in PostgreSQL).
    Fixed,
}

/// The declaration of a setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name as SHOW ALL prints it; looked up without regard to case.
    pub name: &'static str,
    /// Its kind.
    pub kind: SettingKind,
    /// Its value at the start of a session.
    pub default: &'static str,
    /// Whether clients are told of changes (ParameterStatus).
    pub reported: bool,
    /// What it is for.
    pub about: &'static str,
}

/// What a transaction says of itself, and what it begins with.
const OF_TRANSACTIONS: [(&str, &str); 3] = [
    ("transaction_isolation", "default_transaction_isolation"),
    ("transaction_read_only", "default_transaction_read_only"),
    ("transaction_deferrable", "default_transaction_deferrable"),
];

/// The setting that new transactions take one of theirs from; `None` for settings of the session.
fn default_of(name: &str) -> Option<&'static str> {
    OF_TRANSACTIONS.iter().find(|(own, _)| *own == name).map(|(_, default)| *default)
}

/// The declaration of a name, whatever its case.
pub fn find(name: &str) -> Option<&'static Setting> {
    let name = if name.eq_ignore_ascii_case("time zone") { "TimeZone" } else { name };
    SETTINGS.iter().find(|s| s.name.eq_ignore_ascii_case(name))
}

/// What settings were at a savepoint.
#[derive(Debug, Clone)]
struct AtSavepoint {
    values: HashMap<&'static str, String>,
    local: HashMap<&'static str, Option<String>>,
}

/// One session's values.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Counts the changes of values.
    version: u64,
    values: HashMap<&'static str, String>,
    /// Values that a transaction began with, to go back to when it fails; and names set with LOCAL.
    at_begin: Option<HashMap<&'static str, String>>,
    local: HashMap<&'static str, Option<String>>,
    /// Values and names set with LOCAL at each savepoint.
    savepoints: Vec<AtSavepoint>,
    /// Names of extensions' own settings (`a.b`), which PostgreSQL lets anyone set.
    start: HashMap<&'static str, String>,
}

impl Settings {
    /// Settings whose defaults differ for this session (start-up parameters, the role's name).
    pub fn with_start(mut self, name: &'static str, value: String) -> Self {
        self.start.insert(name, value);
        self
    }

    /// A start-up parameter: like SET, but RESET goes back to it.
    pub fn set_at_start(&mut self, name: &str, value: &str) -> Result<()> {
        let setting = declared(name)?;
        let value = check(setting, value)?;
        self.start.insert(setting.name, value);
        self.version += 1;
        Ok(())
    }

    /// Another one after each change of a value.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The present value, as SHOW prints it.
    pub fn get(&self, name: &str) -> Option<String> {
        let setting = find(name)?;
        Some(self.value(setting).to_owned())
    }

    fn value(&self, setting: &Setting) -> &str {
        if let Some(value) = self.values.get(setting.name).or_else(|| self.start.get(setting.name)) {
            return value;
        }
        // Each statement outside of a transaction is one of its own.
        match default_of(setting.name).and_then(find) {
            Some(default) => self.value(default),
            None => setting.default,
        }
    }

    /// All of them: name, value, what it is for.
    pub fn all(&self) -> Vec<(&'static str, String, &'static str)> {
        SETTINGS.iter().map(|s| (s.name, self.value(s).to_owned(), s.about)).collect()
    }

    /// SET name = value. Answers what clients are to be told.
    ///
    /// # Errors
    /// 42704 for an unknown name, 22023 for a value it does not take.
    pub fn set(&mut self, name: &str, value: &str, local: bool) -> Result<Option<(String, String)>> {
        let setting = declared(name)?;
        if setting.kind == Fixed {
            return Err(Error::new(
                Sqlstate::InvalidParameterValue,
                format!("parameter \"{}\" cannot be changed", setting.name),
            ));
        }
        let value = check(setting, value)?;
        let of_transaction = default_of(setting.name).is_some();
        if of_transaction && self.at_begin.is_none() {
            // Of the transaction that is this statement.
            return Ok(None);
        }
        if local || of_transaction {
            let before = self.values.get(setting.name).cloned();
            self.local.entry(setting.name).or_insert(before);
        } else {
            self.local.remove(setting.name);
        }
        let before = self.values.insert(setting.name, value.clone());
        if before.as_ref() != Some(&value) {
            self.version += 1;
        }
        Ok(setting.reported.then(|| (setting.name.to_owned(), value)))
    }

    /// RESET name. Answers what clients are to be told.
    pub fn reset(&mut self, name: &str) -> Result<Option<(String, String)>> {
        let setting = declared(name)?;
        let changed = self.values.remove(setting.name).is_some();
        self.version += u64::from(changed);
        Ok((setting.reported && changed).then(|| (setting.name.to_owned(), self.value(setting).to_owned())))
    }

    /// RESET ALL. Answers what clients are to be told.
    pub fn reset_all(&mut self) -> Vec<(String, String)> {
        let before = self.clone();
        self.values.retain(|name, _| default_of(name).is_some());
        self.version += 1;
        self.changed_since(&before)
    }

    /// BEGIN: remembers the present values, and what the transaction says of itself from now on.
    pub fn begin(&mut self) {
        self.at_begin = Some(self.values.clone());
        self.local.clear();
        self.savepoints.clear();
        for setting in SETTINGS.iter().filter(|setting| default_of(setting.name).is_some()) {
            let value = self.value(setting).to_owned();
            self.local.insert(setting.name, None);
            self.values.insert(setting.name, value);
        }
    }

    /// SAVEPOINT.
    pub fn savepoint(&mut self) {
        self.savepoints.push(AtSavepoint { values: self.values.clone(), local: self.local.clone() });
    }

    /// RELEASE SAVEPOINT: so many are left.
    pub fn release(&mut self, left: usize) {
        self.savepoints.truncate(left);
    }

    /// ROLLBACK TO SAVEPOINT, the last of so many: what was set since is undone. Answers what clients are to be told.
    pub fn rollback_to(&mut self, left: usize) -> Vec<(String, String)> {
        self.savepoints.truncate(left);
        let Some(AtSavepoint { values, local }) = self.savepoints.last().cloned() else { return Vec::new() };
        let before = self.clone();
        (self.values, self.local) = (values, local);
        self.changed_since(&before)
    }

    /// What the transaction says of itself, for one that follows with AND CHAIN.
    pub fn of_transaction(&self) -> Vec<(&'static str, String)> {
        let said = SETTINGS.iter().filter(|setting| default_of(setting.name).is_some());
        said.map(|setting| (setting.name, self.value(setting).to_owned())).collect()
    }

    /// COMMIT keeps what SET set; ROLLBACK undoes it; both undo SET LOCAL. Answers what clients are to be told.
    pub fn end(&mut self, commit: bool) -> Vec<(String, String)> {
        let before = self.clone();
        if let Some(at_begin) = self.at_begin.take()
            && !commit
        {
            self.values = at_begin;
        } else {
            for (name, value) in std::mem::take(&mut self.local) {
                match value {
                    Some(value) => self.values.insert(name, value),
                    None => self.values.remove(name),
                };
            }
        }
        self.local.clear();
        self.savepoints.clear();
        self.changed_since(&before)
    }

    /// Counts the changes of values, and answers what clients are to be told.
    fn changed_since(&mut self, before: &Settings) -> Vec<(String, String)> {
        self.version += u64::from(SETTINGS.iter().any(|s| self.value(s) != before.value(s)));
        SETTINGS
            .iter()
            .filter(|s| s.reported && self.value(s) != before.value(s))
            .map(|s| (s.name.to_owned(), self.value(s).to_owned()))
            .collect()
    }

    /// A time in milliseconds; 0 if there is none.
    pub fn duration_ms(&self, name: &str) -> u64 {
        self.get(name).and_then(|v| parse_duration_ms(&v)).unwrap_or(0)
    }
}

fn declared(name: &str) -> Result<&'static Setting> {
    find(name).ok_or_else(|| {
        let error = Error::new(Sqlstate::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""));
        if name.starts_with("kanon.") {
            let known: Vec<&str> = SETTINGS.iter().map(|s| s.name).filter(|n| n.starts_with("kanon.")).collect();
            error.hint(format!("Kanon's own settings are {}.", known.join(", ")))
        } else {
            error
        }
    })
}

fn invalid(setting: &Setting, value: &str) -> Error {
    Error::new(
        Sqlstate::InvalidParameterValue,
        format!("invalid value for parameter \"{}\": \"{value}\"", setting.name),
    )
}

fn check(setting: &Setting, value: &str) -> Result<String> {
    let value = value.trim();
    match setting.kind {
        Text => {
            if setting.name == "TimeZone" {
                return time_zone(value).ok_or_else(|| invalid(setting, value));
            }
            if setting.name == "kanon.epsilon"
                && !value.is_empty()
                && !value.parse::<f64>().is_ok_and(|e| e.is_finite() && e > 0.0)
            {
                return Err(invalid(setting, value).hint("It is a number above 0."));
            }
            if setting.name == "search_path" {
                return Ok(value.to_owned());
            }
            Ok(value.chars().take(1_000).collect())
        }
        Bool => match value.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" | "1" | "t" | "y" => Ok("on".into()),
            "off" | "false" | "no" | "0" | "f" | "n" => Ok("off".into()),
            _ => Err(Error::new(
                Sqlstate::InvalidParameterValue,
                format!("parameter \"{}\" requires a Boolean value", setting.name),
            )),
        },
        Int(low, high) => match value.parse::<i64>() {
            Ok(n) if (low..=high).contains(&n) => Ok(n.to_string()),
            Ok(n) => Err(Error::new(
                Sqlstate::InvalidParameterValue,
                format!("{n} is outside the valid range for parameter \"{}\" ({low} .. {high})", setting.name),
            )),
            Err(_) => Err(invalid(setting, value)),
        },
        Duration => match parse_duration_ms(value) {
            Some(0) => Ok("0".into()),
            Some(ms) => Ok(shown_duration(ms)),
            None => Err(invalid(setting, value)
                .hint("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".")),
        },
        Enum(words) => {
            let is_encoding = setting.name == "client_encoding";
            // Of an encoding letters and digits count alone, as in PostgreSQL: some clients send it in quotes.
            let is_read =
                |c: &char| if is_encoding { c.is_ascii_alphanumeric() } else { !matches!(c, '-' | '_' | ' ') };
            let plain = |s: &str| s.to_ascii_lowercase().chars().filter(is_read).collect::<String>();
            // `ISO` alone and `iso, ymd` mean ISO; `UTF-8`, `unicode` mean UTF8; on/off have their spellings.
            let wanted = match plain(value).as_str() {
                "unicode" => "utf8".to_owned(),
                "iso" | "iso,ymd" | "iso,dmy" | "iso,us" | "iso,mdy" => "iso,mdy".to_owned(),
                "true" | "yes" | "1" => "on".to_owned(),
                "false" | "no" | "0" => "off".to_owned(),
                other => other.to_owned(),
            };
            match words.iter().find(|w| plain(w) == wanted) {
                Some(word) => Ok((*word).to_owned()),
                None => Err(invalid(setting, value).hint(format!("Available values: {}.", words.join(", ")))),
            }
        }
        Fixed => Ok(value.to_owned()),
    }
}

/// A zone name as Arrow and PostgreSQL know it; offsets in PostgreSQL's way (`-3` means UTC-3, `<+01>-01` its POSIX form).
fn time_zone(value: &str) -> Option<String> {
    if value.eq_ignore_ascii_case("default")
        || value.eq_ignore_ascii_case("utc")
        || value.eq_ignore_ascii_case("gmt")
        || value.eq_ignore_ascii_case("z")
    {
        return Some("UTC".into());
    }
    if let Ok(hours) = value.parse::<i32>() {
        return (-15..=15)
            .contains(&hours)
            .then(|| format!("{}{:02}:00", if hours < 0 { '-' } else { '+' }, hours.abs()));
    }
    value.parse::<Tz>().ok().map(|_| value.to_owned())
}

/// A time as SHOW prints it: in the largest unit that holds it whole.
fn shown_duration(ms: u64) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)];
    match units.into_iter().find(|(_, factor)| ms.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", ms / factor),
        None => format!("{ms}ms"),
    }
}

/// Milliseconds of `250`, `250ms`, `30s`, `5 min`, `1h`, `2d`.
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let factor = match unit.trim() {
        "us" => 0.001,
        "" | "ms" => 1.0,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let ms = (number * factor).round();
    (ms.is_finite() && (0.0..=2_147_483_647.0 * 1_000.0).contains(&ms)).then_some(ms as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_their_case_and_unknown_ones_are_42704() {
        let mut s = Settings::default();
        assert_eq!(s.get("timezone").as_deref(), Some("UTC"));
        assert_eq!(s.set("datestyle", "iso", false).unwrap(), Some(("DateStyle".into(), "ISO, MDY".into())));
        let e = s.set("kanon.on_site_failur", "partial", false).unwrap_err();
        assert_eq!(e.state, Sqlstate::UndefinedObject);
        assert!(e.hint.unwrap().contains("kanon.on_site_failure"));
    }

    #[test]
    fn values_are_checked() {
        let mut s = Settings::default();
        assert_eq!(s.set("kanon.min_sites", "0", false).unwrap_err().state, Sqlstate::InvalidParameterValue);
        assert_eq!(s.set("kanon.on_site_failure", "maybe", false).unwrap_err().state, Sqlstate::InvalidParameterValue);
        for encoding in ["'utf-8'", "UTF8", "unicode", "utf_8"] {
            s.set("client_encoding", encoding, false).unwrap();
            assert_eq!(s.get("client_encoding").as_deref(), Some("UTF8"));
        }
        assert!(s.set("client_encoding", "LATIN1", false).is_err());
        assert_eq!(s.set("server_version", "16", false).unwrap_err().state, Sqlstate::InvalidParameterValue);
        s.set("TimeZone", "Europe/Zurich", false).unwrap();
        assert!(s.set("TimeZone", "Nowhere/Land", false).is_err());
        s.set("statement_timeout", "250", false).unwrap();
        assert_eq!(s.get("statement_timeout").unwrap(), "250ms");
        for (set, shown) in [("5000", "5s"), ("1500", "1500ms"), ("60 s", "1min"), ("36h", "36h"), ("48h", "2d")] {
            s.set("statement_timeout", set, false).unwrap();
            assert_eq!(s.get("statement_timeout").unwrap(), shown);
        }
        assert_eq!(s.duration_ms("kanon.site_timeout"), 30_000);
    }

    #[test]
    fn rollback_undoes_set_and_commit_undoes_only_local() {
        let mut s = Settings::default();
        s.begin();
        s.set("application_name", "a", false).unwrap();
        s.end(false);
        assert_eq!(s.get("application_name").unwrap(), "");
        s.begin();
        s.set("application_name", "b", false).unwrap();
        s.set("TimeZone", "Europe/Zurich", true).unwrap();
        let told = s.end(true);
        assert_eq!(s.get("application_name").unwrap(), "b");
        assert_eq!(s.get("TimeZone").unwrap(), "UTC");
        assert_eq!(told, vec![("TimeZone".to_owned(), "UTC".to_owned())]);
    }

    #[test]
    fn transactions_begin_with_the_defaults_and_keep_what_they_began_with() {
        let mut s = Settings::default();
        s.set("default_transaction_isolation", "serializable", false).unwrap();
        assert_eq!(s.get("transaction_isolation").unwrap(), "serializable");
        s.set("transaction_isolation", "repeatable read", false).unwrap();
        assert_eq!(s.get("transaction_isolation").unwrap(), "serializable", "outside of a transaction");
        s.begin();
        s.set("default_transaction_isolation", "read committed", false).unwrap();
        assert_eq!(s.get("transaction_isolation").unwrap(), "serializable");
        s.set("transaction_read_only", "on", false).unwrap();
        s.reset_all();
        assert_eq!(s.get("transaction_read_only").unwrap(), "on");
        assert!(s.of_transaction().contains(&("transaction_isolation", "serializable".to_owned())));
        s.end(true);
        assert_eq!(s.get("transaction_isolation").unwrap(), "read committed");
        assert_eq!(s.get("transaction_read_only").unwrap(), "off");
    }
}
