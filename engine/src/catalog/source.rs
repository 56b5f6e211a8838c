//! Where a table's data is and how it is read, as the store keeps it; made from LOCATION and OPTIONS.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::change::ExternalTable;
use super::options::boolean;
use crate::error::{Error, Result, Sqlstate};
use crate::nearest::did_you_mean;

/// What a source is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourceKind {
    Parquet,
    Csv,
    Json,
    Arrow,
    Sqlite,
}

impl SourceKind {
    const ALL: [SourceKind; 5] =
        [SourceKind::Parquet, SourceKind::Csv, SourceKind::Json, SourceKind::Arrow, SourceKind::Sqlite];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            SourceKind::Parquet => "parquet",
            SourceKind::Csv => "csv",
            SourceKind::Json => "json",
            SourceKind::Arrow => "arrow",
            SourceKind::Sqlite => "sqlite",
        }
    }

    fn parse(text: &str) -> Result<SourceKind> {
        let lower = text.to_ascii_lowercase();
        let lower = if lower == "ndjson" { "json" } else { lower.as_str() };
        SourceKind::ALL.into_iter().find(|kind| kind.as_str() == lower).ok_or_else(|| {
            let error = Error::new(Sqlstate::InvalidParameterValue, format!("format \"{text}\" is not supported"));
            did_you_mean(error, text, SourceKind::ALL.map(SourceKind::as_str))
        })
    }

    /// The endings of its files' names; the first is looked for first.
    pub(crate) fn suffixes(self) -> &'static [&'static str] {
        match self {
            SourceKind::Parquet => &[".parquet", ".parq", ".pq"],
            SourceKind::Csv => &[".csv", ".tsv", ".txt"],
            SourceKind::Json => &[".json", ".ndjson", ".jsonl"],
            SourceKind::Arrow => &[".arrow", ".feather", ".ipc"],
            SourceKind::Sqlite => &[],
        }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            SourceKind::Parquet | SourceKind::Arrow => &["file_extension"],
            SourceKind::Csv => &[
                "has_header",
                "delimiter",
                "quote",
                "escape",
                "comment",
                "null_value",
                "newlines_in_values",
                "compression",
                "file_extension",
            ],
            SourceKind::Json => &["compression", "file_extension"],
            SourceKind::Sqlite => &["table"],
        }
    }
}

/// Where a table's data is and how it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) kind: SourceKind,
    /// As the steward wrote it.
    pub(crate) location: String,
    /// The file, or the folder (with a `/` at its end), as a URL.
    pub(crate) url: String,
    /// Which files of the folder, if not all.
    pub(crate) glob: Option<String>,
    /// How names of files of a folder end; empty: any.
    pub(crate) suffix: String,
    /// The steward chose `suffix`.
    #[serde(default)]
    pub(crate) suffix_chosen: bool,
    #[serde(default)]
    pub(crate) compression: Compression,
    #[serde(default)]
    pub(crate) csv: CsvDialect,
    /// The table in the database (SQLite).
    #[serde(default)]
    pub(crate) table: Option<String>,
}

/// How files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    #[default]
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

/// How a CSV file is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CsvDialect {
    /// The first line names the columns.
    pub(crate) has_header: bool,
    pub(crate) delimiter: u8,
    pub(crate) quote: u8,
    pub(crate) escape: Option<u8>,
    pub(crate) comment: Option<u8>,
    /// A text that means NULL, beside the empty one.
    pub(crate) null_value: Option<String>,
    /// A quoted value may hold a line break: then one file is read by one thread.
    pub(crate) newlines_in_values: bool,
}

impl Default for CsvDialect {
    fn default() -> Self {
        CsvDialect {
            has_header: true,
            delimiter: b',',
            quote: b'"',
            escape: None,
            comment: None,
            null_value: None,
            newlines_in_values: true,
        }
    }
}

impl Source {
    /// Reads LOCATION, STORED AS and OPTIONS. Local paths are resolved, links too, and must lie under `data_root` if there is one.
    ///
    /// # Errors
    /// 22023, 42704 and 42501 with what to write; 58030 for a path that is not there or cannot be read.
    pub(crate) fn resolve(definition: &ExternalTable, data_root: Option<&Path>) -> Result<Source> {
        let kind = SourceKind::parse(&definition.format)?;
        let (url, glob) = locate(&definition.location, data_root)?;
        if kind == SourceKind::Sqlite && (glob.is_some() || url.scheme() != "file" || url.path().ends_with('/')) {
            return Err(
                invalid("a SQLite database is one local file").hint("LOCATION '/absolute/path/to/database.db'.")
            );
        }
        let first_suffix = kind.suffixes().first().copied().unwrap_or_default();
        let folder = url.path().ends_with('/') && glob.is_none();
        let mut source = Source {
            kind,
            location: definition.location.clone(),
            url: url.to_string(),
            suffix: if folder { first_suffix.to_owned() } else { String::new() },
            suffix_chosen: false,
            glob,
            compression: compression_of_name(url.path()),
            csv: CsvDialect {
                delimiter: if url.path().ends_with(".tsv") { b'\t' } else { b',' },
                ..CsvDialect::default()
            },
            table: None,
        };
        let mut seen: Vec<String> = Vec::new();
        for (written, value) in &definition.options {
            // DataFusion and PostgreSQL name some of them otherwise.
            let option = written.to_ascii_lowercase();
            let option = option.strip_prefix("format.").unwrap_or(&option);
            let option = match option {
                "header" => "has_header",
                "delim" => "delimiter",
                "null" => "null_value",
                other => other,
            };
            if !kind.options().contains(&option) {
                let error = Error::new(
                    Sqlstate::UndefinedObject,
                    format!("unrecognized option \"{written}\" for {}", kind.as_str()),
                );
                return Err(did_you_mean(error, option, kind.options().iter().copied()));
            }
            if seen.iter().any(|earlier| earlier == option) {
                return Err(Error::new(Sqlstate::SyntaxError, format!("option \"{option}\" is given twice")));
            }
            seen.push(option.to_owned());
            source.set(option, value)?;
        }
        if kind == SourceKind::Sqlite && source.table.is_none() {
            source.table = Some(definition.name.clone());
        }
        Ok(source)
    }

    fn set(&mut self, option: &str, value: &str) -> Result<()> {
        match option {
            "has_header" => self.csv.has_header = boolean(option, value)?,
            "newlines_in_values" => self.csv.newlines_in_values = boolean(option, value)?,
            "delimiter" => self.csv.delimiter = byte(option, value)?,
            "quote" => self.csv.quote = byte(option, value)?,
            "escape" => self.csv.escape = Some(byte(option, value)?),
            "comment" => self.csv.comment = Some(byte(option, value)?),
            "null_value" => self.csv.null_value = Some(value.to_owned()).filter(|text| !text.is_empty()),
            "file_extension" => {
                self.suffix = value.to_owned();
                self.suffix_chosen = true;
            }
            "compression" => {
                self.compression = match value.to_ascii_lowercase().as_str() {
                    "none" | "uncompressed" | "" => Compression::None,
                    "gzip" | "gz" => Compression::Gzip,
                    "bzip2" | "bz2" => Compression::Bzip2,
                    "xz" => Compression::Xz,
                    "zstd" | "zst" => Compression::Zstd,
                    other => {
                        let error = invalid(format!("compression cannot be \"{other}\""));
                        return Err(did_you_mean(error, other, ["none", "gzip", "bzip2", "xz", "zstd"]));
                    }
                }
            }
            "table" => self.table = Some(value.to_owned()).filter(|name| !name.is_empty()),
            _ => return Err(Error::internal(format!("option {option} is listed and not read"))),
        }
        Ok(())
    }

    /// The one local file that its rows are in, if it is that. A database is not: its file does not say when its rows change.
    pub(crate) fn local_file(&self) -> Option<PathBuf> {
        let is_file = self.kind != SourceKind::Sqlite && self.glob.is_none() && !self.url.ends_with('/');
        self.local_path().filter(|_| is_file)
    }

    /// The local path behind the URL, if it is local.
    pub(crate) fn local_path(&self) -> Option<PathBuf> {
        Url::parse(&self.url).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Sqlstate::InvalidParameterValue, message)
}

fn byte(option: &str, value: &str) -> Result<u8> {
    match value.as_bytes() {
        [one] if one.is_ascii() => Ok(*one),
        b"\\t" => Ok(b'\t'),
        _ => Err(invalid(format!("{option} must be one ASCII character, not \"{value}\""))),
    }
}

fn compression_of_name(path: &str) -> Compression {
    match path.rsplit('.').next() {
        Some("gz") => Compression::Gzip,
        Some("bz2") => Compression::Bzip2,
        Some("xz") => Compression::Xz,
        Some("zst") => Compression::Zstd,
        _ => Compression::None,
    }
}

/// The URL of a file or folder, and the pattern of files below it.
fn locate(location: &str, data_root: Option<&Path>) -> Result<(Url, Option<String>)> {
    let wrong = |message: String| {
        invalid(message).hint("Write a URL (file://, s3://, gs://, az://, https://) or an absolute path.")
    };
    if location.is_empty() || location.contains('\0') {
        return Err(wrong("LOCATION is empty".to_owned()));
    }
    let path = if location.starts_with('/') {
        PathBuf::from(location)
    } else if let Some(path) = location.strip_prefix("file://") {
        let path = path.strip_prefix("localhost").unwrap_or(path);
        if !path.starts_with('/') {
            return Err(wrong(format!("\"{location}\" is not an absolute path")));
        }
        PathBuf::from(path)
    } else {
        return remote(location, data_root);
    };
    let (folder, glob) = split_glob(&path);
    // With the links resolved: what is outside does not come in by a link.
    let real = std::fs::canonicalize(&folder).map_err(|error| {
        Error::new(Sqlstate::IoError, format!("cannot open \"{}\": {}", folder.display(), plain_io(&error)))
            .hint("LOCATION is read by the node, on its own machine, with its own rights.")
    })?;
    check_root(location, &real, data_root)?;
    let url = if real.is_dir() { Url::from_directory_path(&real) } else { Url::from_file_path(&real) };
    let url = url.map_err(|()| wrong(format!("\"{location}\" cannot be a LOCATION")))?;
    if glob.is_some() && !real.is_dir() {
        return Err(wrong(format!("\"{}\" is not a folder", folder.display())));
    }
    Ok((url, glob))
}

fn remote(location: &str, data_root: Option<&Path>) -> Result<(Url, Option<String>)> {
    let hint = "Write a URL (file://, s3://, gs://, az://, https://) or an absolute path.";
    let (scheme, _) = location
        .split_once("://")
        .ok_or_else(|| invalid(format!("\"{location}\" is not an absolute path")).hint(hint))?;
    if !matches!(scheme, "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" | "https" | "http") {
        return Err(invalid(format!("LOCATION cannot begin with {scheme}://")).hint(hint));
    }
    if let Some(root) = data_root {
        return Err(Error::new(Sqlstate::InsufficientPrivilege, format!("LOCATION must lie under {}", root.display()))
            .hint("The node's configuration says so (data_root)."));
    }
    // A glob is not a URL: the folder before it is.
    let (folder, glob) = match location.find(['*', '?', '[']) {
        Some(at) if !matches!(scheme, "https" | "http") => {
            let split = location.get(..at).and_then(|head| head.rfind('/')).map_or(at, |slash| slash + 1);
            (location.get(..split).unwrap_or(location), location.get(split..).map(str::to_owned))
        }
        _ => (location, None),
    };
    let url =
        Url::parse(folder).map_err(|error| invalid(format!("\"{location}\" is not a URL: {error}")).hint(hint))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(invalid(format!("\"{location}\" names no host or bucket")));
    }
    if scheme == "http" && !is_loopback(&url) {
        return Err(invalid("http:// is for this machine only: data would travel unprotected")
            .hint("Use https://, or http:// with 127.0.0.1, [::1] or localhost."));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("a LOCATION cannot hold a password")
            .hint("Give the node its credentials by the environment, as AWS_ACCESS_KEY_ID and so on."));
    }
    Ok((url, glob))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn split_glob(path: &Path) -> (PathBuf, Option<String>) {
    let is_glob = |part: &Component<'_>| part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    // A file may have such a name.
    if path.exists() {
        return (path.to_path_buf(), None);
    }
    let parts: Vec<Component<'_>> = path.components().collect();
    match parts.iter().position(is_glob) {
        None => (path.to_path_buf(), None),
        Some(at) => {
            let folder: PathBuf = parts.iter().take(at).collect();
            let glob: PathBuf = parts.iter().skip(at).collect();
            (folder, Some(glob.to_string_lossy().into_owned()))
        }
    }
}

/// Whether a path without links lies under the root without links.
pub(crate) fn check_root(location: &str, real: &Path, data_root: Option<&Path>) -> Result<()> {
    let Some(root) = data_root else { return Ok(()) };
    let real_root = std::fs::canonicalize(root).map_err(|error| {
        Error::new(Sqlstate::IoError, format!("cannot open data_root {}: {}", root.display(), plain_io(&error)))
    })?;
    if real.starts_with(&real_root) {
        return Ok(());
    }
    Err(Error::new(Sqlstate::InsufficientPrivilege, format!("\"{location}\" does not lie under {}", root.display()))
        .hint("The node's configuration says that it must (data_root)."))
}

/// What the operating system said, without its number.
pub(crate) fn plain_io(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}
