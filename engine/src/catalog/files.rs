//! Files as tables: Parquet, CSV, newline-delimited JSON and Arrow IPC, on local disks and in object stores.

mod listed;
mod marked;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::CsvOptions;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::{ClientOptions, ObjectMeta, ObjectStore, RetryConfig};
use url::Url;

use self::listed::Listed;
use self::marked::{Marked, as_text};
use super::infer;
use super::source::{Compression, Source, SourceKind, check_root};
use crate::error::{Error, Result, Sqlstate};

/// Reads rows of files.
pub(super) fn provider(runtime: &RuntimeEnv, source: &Source, schema: &SchemaRef) -> Result<Arc<dyn TableProvider>> {
    let url = listing_url(source)?;
    let store = object_store(runtime, url.get_url())?;
    let options = ListingOptions::new(format(source)).with_file_extension(source.suffix.clone());
    let config = ListingTableConfig::new(url).with_listing_options(options);
    let listed = |table| Listed { table, store, source: source.clone() };
    match &source.csv.null_value {
        Some(mark) if source.kind == SourceKind::Csv => {
            let text = Arc::new(listed(ListingTable::try_new(config.with_schema(as_text(schema)))?));
            Ok(Arc::new(Marked { text, schema: Arc::clone(schema), mark: mark.clone() }))
        }
        _ => Ok(Arc::new(listed(ListingTable::try_new(config.with_schema(Arc::clone(schema)))?))),
    }
}

/// Finds the files and their columns, or checks that they have the declared ones.
pub(super) async fn register(
    state: &SessionState,
    source: &mut Source,
    declared: Option<Schema>,
    data_root: Option<&Path>,
) -> Result<Schema> {
    let store = object_store(state.runtime_env(), listing_url(source)?.get_url())?;
    let files = find(state, &store, source).await?;
    if data_root.is_some() && source.local_path().is_some() {
        // A link in the folder may lead out of it.
        for file in &files {
            let path = Path::new("/").join(file.location.as_ref());
            let real = std::fs::canonicalize(&path).unwrap_or(path);
            check_root(&real.to_string_lossy(), &real, data_root)?;
        }
    }
    infer::schema(state, &store, source, &files, declared).await
}

/// What is known of each file without reading it.
pub(super) async fn data_version(state: &SessionState, source: &Source) -> Result<Vec<String>> {
    let store = object_store(state.runtime_env(), listing_url(source)?.get_url())?;
    let files = find(state, &store, &mut source.clone()).await?;
    Ok(files
        .iter()
        .map(|file| {
            format!(
                "{} {} {} {}",
                file.location,
                file.size,
                file.last_modified.timestamp_micros(),
                file.e_tag.as_deref().unwrap_or_default()
            )
        })
        .collect())
}

/// The files of a source, by name. At least one.
async fn find(state: &dyn Session, store: &Arc<dyn ObjectStore>, source: &mut Source) -> Result<Vec<ObjectMeta>> {
    let url = listing_url(source)?;
    let mut suffixes = vec![source.suffix.clone()];
    if !source.suffix_chosen && !source.suffix.is_empty() {
        suffixes =
            source.kind.suffixes().iter().map(|suffix| format!("{suffix}{}", ending(source.compression))).collect();
    }
    for suffix in &suffixes {
        let listed = url.list_all_files(state, store.as_ref(), suffix).await;
        let files: std::result::Result<Vec<ObjectMeta>, _> = match listed {
            Ok(stream) => stream.try_collect().await,
            Err(error) => Err(error),
        };
        let mut files = files.map_err(|error| {
            Error::new(Sqlstate::IoError, format!("cannot list \"{}\"", source.location))
                .detail(error.strip_backtrace())
        })?;
        if !files.is_empty() {
            source.suffix = suffix.clone();
            files.sort_by(|a, b| a.location.cmp(&b.location));
            return Ok(files);
        }
    }
    let error = Error::new(Sqlstate::IoError, format!("no {} files in \"{}\"", source.kind.as_str(), source.location));
    Err(match suffixes.as_slice() {
        [one] if one.is_empty() => error,
        _ => error.hint(format!(
            "Looked for names that end with {}; OPTIONS ('file_extension' '…') looks for others.",
            suffixes.join(", ")
        )),
    })
}

fn listing_url(source: &Source) -> Result<ListingTableUrl> {
    let url = Url::parse(&source.url).map_err(Error::internal)?;
    let url = ListingTableUrl::try_new(url, None)?;
    Ok(match &source.glob {
        Some(glob) => url.with_glob(glob).map_err(|error| {
            Error::new(Sqlstate::InvalidParameterValue, format!("\"{glob}\" is not a pattern of file names"))
                .detail(error.strip_backtrace())
        })?,
        None => url,
    })
}

/// How DataFusion reads files of this kind.
pub(super) fn format(source: &Source) -> Arc<dyn FileFormat> {
    let compression = FileCompressionType::from(variant(source.compression));
    match source.kind {
        SourceKind::Parquet => Arc::new(ParquetFormat::default().with_force_view_types(false)),
        SourceKind::Json => Arc::new(JsonFormat::default().with_file_compression_type(compression)),
        SourceKind::Arrow | SourceKind::Sqlite => Arc::new(ArrowFormat),
        SourceKind::Csv => {
            let dialect = &source.csv;
            let options = CsvOptions {
                has_header: Some(dialect.has_header),
                delimiter: dialect.delimiter,
                quote: dialect.quote,
                escape: dialect.escape,
                comment: dialect.comment,
                newlines_in_values: Some(dialect.newlines_in_values),
                ..CsvOptions::default()
            };
            Arc::new(CsvFormat::default().with_options(options).with_file_compression_type(compression))
        }
    }
}

pub(super) fn variant(compression: Compression) -> CompressionTypeVariant {
    match compression {
        Compression::None => CompressionTypeVariant::UNCOMPRESSED,
        Compression::Gzip => CompressionTypeVariant::GZIP,
        Compression::Bzip2 => CompressionTypeVariant::BZIP2,
        Compression::Xz => CompressionTypeVariant::XZ,
        Compression::Zstd => CompressionTypeVariant::ZSTD,
    }
}

fn ending(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "",
        Compression::Gzip => ".gz",
        Compression::Bzip2 => ".bz2",
        Compression::Xz => ".xz",
        Compression::Zstd => ".zst",
    }
}

/// The object store of a URL, with credentials from the usual environment variables; made once a bucket.
fn object_store(runtime: &RuntimeEnv, url: &Url) -> Result<Arc<dyn ObjectStore>> {
    let key = Url::parse(&url[..url::Position::BeforePath]).map_err(Error::internal)?;
    if let Ok(store) = runtime.object_store_registry.get_store(&key) {
        return Ok(store);
    }
    let retry = RetryConfig { max_retries: 3, retry_timeout: Duration::from_secs(30), ..RetryConfig::default() };
    let made: object_store::Result<Arc<dyn ObjectStore>> = match url.scheme() {
        "s3" | "s3a" => AmazonS3Builder::from_env()
            .with_url(url.as_str())
            .with_retry(retry)
            .build()
            .map(|store| Arc::new(store) as _),
        "gs" => GoogleCloudStorageBuilder::from_env()
            .with_url(url.as_str())
            .with_retry(retry)
            .build()
            .map(|store| Arc::new(store) as _),
        "https" | "http" => {
            // http:// is this machine's only: LOCATION was checked.
            let options = ClientOptions::new().with_allow_http(url.scheme() == "http");
            HttpBuilder::new()
                .with_url(key.as_str())
                .with_client_options(options)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as _)
        }
        _ => MicrosoftAzureBuilder::from_env()
            .with_url(url.as_str())
            .with_retry(retry)
            .build()
            .map(|store| Arc::new(store) as _),
    };
    let store = made.map_err(|error| {
        Error::new(Sqlstate::SystemError, format!("cannot reach {key}: {error}"))
            .hint("Credentials come from the node's environment: AWS_…, GOOGLE_…, AZURE_….")
    })?;
    runtime.register_object_store(&key, Arc::clone(&store));
    Ok(store)
}
