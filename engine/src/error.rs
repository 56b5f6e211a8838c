//! The one error that reaches people, and its mapping to SQLSTATE and gRPC.
//!
//! Only text made for users may be put into [`Error`]: never the message of a library that ran over protected rows.

use std::fmt;

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use kanon_planner::refusal::{Refusal, RefusalKind};

use crate::limits::STATEMENT_MEMORY;

/// What went wrong, as clients tell it apart. Every error that leaves a node has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sqlstate {
    /// 0A000
    FeatureNotSupported,
    /// 01000
    Warning,
    /// 08001: a site could not be reached
    SiteUnreachable,
    /// 08P01
    ProtocolViolation,
    /// 21000
    CardinalityViolation,
    /// 22001
    StringTooLong,
    /// 22003
    NumericOutOfRange,
    /// 22004
    NullNotAllowed,
    /// 22007
    InvalidDatetime,
    /// 22008
    DatetimeOverflow,
    /// 22011
    SubstringError,
    /// 22012
    DivisionByZero,
    /// 22021
    CharacterNotInRepertoire,
    /// 22023
    InvalidParameterValue,
    /// 2201B: a regular expression
    InvalidRegularExpression,
    /// 2202E
    ArraySubscriptError,
    /// 23502
    NotNullViolation,
    /// 22P02
    InvalidTextRepresentation,
    /// 22P03
    InvalidBinaryRepresentation,
    /// 22P05
    UntranslatableCharacter,
    /// 22000: other data exceptions of open queries
    DataException,
    /// 25001
    ActiveTransaction,
    /// 25006
    ReadOnlyTransaction,
    /// 25P01
    NoActiveTransaction,
    /// 25P02
    InFailedTransaction,
    /// 25P03
    IdleInTransactionTimeout,
    /// 26000
    InvalidStatementName,
    /// 28000
    InvalidAuthorization,
    /// 28P01
    InvalidPassword,
    /// 2BP01
    DependentObjects,
    /// 34000
    InvalidCursorName,
    /// 38000: anything that fails below the boundary
    BelowBoundary,
    /// 3B001
    InvalidSavepoint,
    /// 3D000
    UndefinedDatabase,
    /// 3F000
    UndefinedSchema,
    /// 42501
    InsufficientPrivilege,
    /// 42601
    SyntaxError,
    /// 42602
    InvalidName,
    /// 42701
    DuplicateColumn,
    /// 42703
    UndefinedColumn,
    /// 42702
    AmbiguousColumn,
    /// 42704
    UndefinedObject,
    /// 42710
    DuplicateObject,
    /// 42803
    GroupingError,
    /// 42804
    DatatypeMismatch,
    /// 42846
    CannotCoerce,
    /// 42883
    UndefinedFunction,
    /// 42P01
    UndefinedTable,
    /// 42P02
    UndefinedParameter,
    /// 42P18
    IndeterminateDatatype,
    /// 42P03
    DuplicateCursor,
    /// 42P05
    DuplicatePreparedStatement,
    /// 42P07
    DuplicateTable,
    /// 42P16
    InvalidTableDefinition,
    /// 53100
    DiskFull,
    /// 53200
    OutOfMemory,
    /// 53300
    TooManyConnections,
    /// 53400
    BudgetExceeded,
    /// 54000
    ProgramLimitExceeded,
    /// 54001
    StatementTooComplex,
    /// 54011
    TooManyColumns,
    /// 55000
    ObjectNotInPrerequisiteState,
    /// 57014
    QueryCanceled,
    /// 57P01
    AdminShutdown,
    /// 57P05
    IdleSessionTimeout,
    /// 58000: a file, a disk, another system
    SystemError,
    /// 58030
    IoError,
    /// XX000: our own fault
    Internal,
}

impl Sqlstate {
    /// The five characters.
    pub fn code(self) -> &'static str {
        use Sqlstate::*;
        match self {
            Warning => "01000",
            FeatureNotSupported => "0A000",
            SiteUnreachable => "08001",
            ProtocolViolation => "08P01",
            CardinalityViolation => "21000",
            StringTooLong => "22001",
            NumericOutOfRange => "22003",
            NullNotAllowed => "22004",
            InvalidDatetime => "22007",
            DatetimeOverflow => "22008",
            SubstringError => "22011",
            DivisionByZero => "22012",
            CharacterNotInRepertoire => "22021",
            InvalidParameterValue => "22023",
            InvalidRegularExpression => "2201B",
            ArraySubscriptError => "2202E",
            NotNullViolation => "23502",
            InvalidTextRepresentation => "22P02",
            InvalidBinaryRepresentation => "22P03",
            UntranslatableCharacter => "22P05",
            DataException => "22000",
            ActiveTransaction => "25001",
            ReadOnlyTransaction => "25006",
            NoActiveTransaction => "25P01",
            InFailedTransaction => "25P02",
            IdleInTransactionTimeout => "25P03",
            InvalidStatementName => "26000",
            InvalidAuthorization => "28000",
            InvalidPassword => "28P01",
            DependentObjects => "2BP01",
            InvalidCursorName => "34000",
            BelowBoundary => "38000",
            InvalidSavepoint => "3B001",
            UndefinedDatabase => "3D000",
            UndefinedSchema => "3F000",
            InsufficientPrivilege => "42501",
            SyntaxError => "42601",
            InvalidName => "42602",
            DuplicateColumn => "42701",
            UndefinedColumn => "42703",
            AmbiguousColumn => "42702",
            UndefinedObject => "42704",
            DuplicateObject => "42710",
            GroupingError => "42803",
            DatatypeMismatch => "42804",
            CannotCoerce => "42846",
            UndefinedFunction => "42883",
            UndefinedTable => "42P01",
            UndefinedParameter => "42P02",
            IndeterminateDatatype => "42P18",
            DuplicateCursor => "42P03",
            DuplicatePreparedStatement => "42P05",
            DuplicateTable => "42P07",
            InvalidTableDefinition => "42P16",
            DiskFull => "53100",
            OutOfMemory => "53200",
            TooManyConnections => "53300",
            BudgetExceeded => "53400",
            ProgramLimitExceeded => "54000",
            StatementTooComplex => "54001",
            TooManyColumns => "54011",
            ObjectNotInPrerequisiteState => "55000",
            QueryCanceled => "57014",
            AdminShutdown => "57P01",
            IdleSessionTimeout => "57P05",
            SystemError => "58000",
            IoError => "58030",
            Internal => "XX000",
        }
    }

    /// The state of five characters that another node sent; unknown ones are [`Sqlstate::Internal`].
    pub fn from_code(code: &str) -> Sqlstate {
        ALL.iter().copied().find(|s| s.code() == code).unwrap_or(Sqlstate::Internal)
    }

    /// The gRPC status code for it.
    pub fn grpc(self) -> tonic::Code {
        use Sqlstate::*;
        use tonic::Code;
        match self {
            FeatureNotSupported => Code::Unimplemented,
            SiteUnreachable => Code::Unavailable,
            ProtocolViolation
            | CardinalityViolation
            | StringTooLong
            | NotNullViolation
            | NumericOutOfRange
            | NullNotAllowed
            | InvalidDatetime
            | DatetimeOverflow
            | SubstringError
            | DivisionByZero
            | CharacterNotInRepertoire
            | InvalidParameterValue
            | InvalidRegularExpression
            | ArraySubscriptError
            | InvalidTextRepresentation
            | InvalidBinaryRepresentation
            | UntranslatableCharacter
            | DataException
            | CannotCoerce
            | SyntaxError
            | InvalidName
            | DuplicateColumn
            | InvalidTableDefinition
            | IndeterminateDatatype
            | AmbiguousColumn
            | GroupingError
            | DatatypeMismatch
            | StatementTooComplex
            | TooManyColumns => Code::InvalidArgument,
            UndefinedDatabase | UndefinedSchema | UndefinedColumn | UndefinedObject | UndefinedFunction
            | UndefinedTable | UndefinedParameter | InvalidStatementName | InvalidCursorName | InvalidSavepoint => {
                Code::NotFound
            }
            DuplicateObject | DuplicateCursor | DuplicatePreparedStatement | DuplicateTable => Code::AlreadyExists,
            InvalidAuthorization | InvalidPassword => Code::Unauthenticated,
            InsufficientPrivilege | ReadOnlyTransaction => Code::PermissionDenied,
            ActiveTransaction
            | NoActiveTransaction
            | InFailedTransaction
            | IdleInTransactionTimeout
            | DependentObjects
            | ObjectNotInPrerequisiteState => Code::FailedPrecondition,
            DiskFull | OutOfMemory | TooManyConnections | BudgetExceeded | ProgramLimitExceeded => {
                Code::ResourceExhausted
            }
            QueryCanceled => Code::Cancelled,
            AdminShutdown | IdleSessionTimeout => Code::Unavailable,
            // No error has it.
            Warning | BelowBoundary | SystemError | IoError | Internal => Code::Internal,
        }
    }
}

const ALL: &[Sqlstate] = {
    use Sqlstate::*;
    &[
        Warning,
        FeatureNotSupported,
        SiteUnreachable,
        ProtocolViolation,
        CardinalityViolation,
        StringTooLong,
        NotNullViolation,
        NumericOutOfRange,
        NullNotAllowed,
        InvalidDatetime,
        DatetimeOverflow,
        SubstringError,
        DivisionByZero,
        CharacterNotInRepertoire,
        InvalidParameterValue,
        InvalidRegularExpression,
        ArraySubscriptError,
        InvalidTextRepresentation,
        InvalidBinaryRepresentation,
        UntranslatableCharacter,
        DataException,
        ActiveTransaction,
        ReadOnlyTransaction,
        NoActiveTransaction,
        InFailedTransaction,
        IdleInTransactionTimeout,
        InvalidStatementName,
        InvalidAuthorization,
        InvalidPassword,
        DependentObjects,
        InvalidCursorName,
        BelowBoundary,
        InvalidSavepoint,
        UndefinedDatabase,
        UndefinedSchema,
        InsufficientPrivilege,
        SyntaxError,
        InvalidName,
        DuplicateColumn,
        UndefinedColumn,
        AmbiguousColumn,
        UndefinedObject,
        DuplicateObject,
        GroupingError,
        DatatypeMismatch,
        CannotCoerce,
        UndefinedFunction,
        UndefinedTable,
        UndefinedParameter,
        DuplicateCursor,
        DuplicatePreparedStatement,
        DuplicateTable,
        InvalidTableDefinition,
        DiskFull,
        OutOfMemory,
        TooManyConnections,
        BudgetExceeded,
        ProgramLimitExceeded,
        StatementTooComplex,
        TooManyColumns,
        ObjectNotInPrerequisiteState,
        QueryCanceled,
        AdminShutdown,
        IdleSessionTimeout,
        SystemError,
        IoError,
        Internal,
    ]
};

/// An error as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind.
    pub state: Sqlstate,
    /// What happened, to what: lower case, no full stop.
    pub message: String,
    /// More, as sentences.
    pub detail: Option<String>,
    /// What to do, as sentences.
    pub hint: Option<String>,
    /// Where in the statement: characters from 1.
    pub position: Option<usize>,
}

/// The result of nearly everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a state with a message.
    pub fn new(state: Sqlstate, message: impl Into<String>) -> Self {
        Error { state, message: message.into(), detail: None, hint: None, position: None }
    }
    /// 0A000.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Error::new(Sqlstate::FeatureNotSupported, message)
    }
    /// XX000; `inner` is logged, not shown.
    pub fn internal(inner: impl fmt::Display) -> Self {
        tracing::error!(error = %inner, "internal error");
        Error::new(Sqlstate::Internal, "internal error; the node's log has more")
    }
    /// 38000: the one text for whatever fails below the boundary.
    pub fn below_boundary() -> Self {
        Error::new(Sqlstate::BelowBoundary, "the query could not be computed on protected data")
    }
    /// 57014.
    pub fn cancelled() -> Self {
        Error::new(Sqlstate::QueryCanceled, "canceling statement due to user request")
    }
    /// 57P01.
    pub fn terminated() -> Self {
        Error::new(Sqlstate::AdminShutdown, "terminating connection due to administrator command")
    }
    /// 25P02.
    pub fn in_failed_transaction() -> Self {
        let message = "current transaction is aborted, commands ignored until end of transaction block";
        Error::new(Sqlstate::InFailedTransaction, message)
    }
    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Adds detail.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
    /// Adds a position, in characters from 1.
    pub fn at(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let state = match refusal.kind {
            RefusalKind::Forbidden => Sqlstate::InsufficientPrivilege,
            RefusalKind::Unsupported => Sqlstate::FeatureNotSupported,
        };
        Error { state, message: refusal.message, detail: None, hint: refusal.hint, position: None }
    }
}

/// For open queries and for planning only; what runs over protected rows maps to [`Error::below_boundary`] instead.
impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        open_query_error(error)
    }
}

fn open_query_error(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::new(Sqlstate::SystemError, first_line(&other.to_string())),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => open_query_error(*inner),
        DataFusionError::Shared(inner) => match find_ours(inner.as_ref()) {
            Some(ours) => ours,
            None => classify(inner.as_ref()),
        },
        other => classify(&other),
    }
}

fn find_ours(error: &DataFusionError) -> Option<Error> {
    match error {
        DataFusionError::External(inner) => inner.downcast_ref::<Error>().cloned(),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => find_ours(inner),
        DataFusionError::Shared(inner) => find_ours(inner),
        _ => None,
    }
}

fn classify(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::ArrowError(inner, _) => arrow_error(inner),
        DataFusionError::SchemaError(inner, _) => schema_error(inner),
        DataFusionError::SQL(inner, _) => {
            Error::new(Sqlstate::SyntaxError, format!("syntax error: {}", first_line(&inner.to_string())))
        }
        DataFusionError::NotImplemented(text) => Error::unsupported(first_line(text)),
        DataFusionError::ResourcesExhausted(text) if text.starts_with(STATEMENT_MEMORY) => {
            Error::new(Sqlstate::OutOfMemory, "out of memory")
                .detail("The query needs more memory than the node allows one statement.")
                .hint("Ask for fewer groups or rows; the node's operator sets max_memory_per_statement_mb.")
        }
        DataFusionError::ResourcesExhausted(_) => Error::new(Sqlstate::OutOfMemory, "out of memory")
            .detail("The query needs more memory than the node allows.")
            .hint("Ask for fewer groups or rows."),
        DataFusionError::Plan(text) => plan_error(text),
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => {
            tracing::warn!(%error, "a source failed");
            Error::new(Sqlstate::IoError, "a file of the table could not be read")
        }
        DataFusionError::ParquetError(_) => {
            tracing::warn!(%error, "a source failed");
            Error::new(Sqlstate::IoError, "a Parquet file of the table could not be read")
        }
        DataFusionError::Execution(text) => execution_error(text),
        DataFusionError::Configuration(text) => Error::new(Sqlstate::InvalidParameterValue, first_line(text)),
        DataFusionError::Collection(all) => match all.first() {
            Some(first) => classify(first),
            None => Error::internal(error),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => classify(inner),
        DataFusionError::Shared(inner) => classify(inner),
        other => find_ours(other).unwrap_or_else(|| Error::internal(other)),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}

fn arrow_error(error: &ArrowError) -> Error {
    match error {
        ArrowError::DivideByZero => Error::new(Sqlstate::DivisionByZero, "division by zero"),
        ArrowError::CastError(text) => cast_error(text),
        ArrowError::ParseError(text) => Error::new(Sqlstate::InvalidTextRepresentation, first_line(text)),
        ArrowError::ArithmeticOverflow(_) => Error::new(Sqlstate::NumericOutOfRange, "value out of range"),
        ArrowError::ComputeError(text) if text.contains("verflow") => {
            Error::new(Sqlstate::NumericOutOfRange, "value out of range")
        }
        ArrowError::InvalidArgumentError(text) if text.contains(" to store in a Decimal") => {
            Error::new(Sqlstate::NumericOutOfRange, "numeric field overflow")
        }
        ArrowError::NotYetImplemented(text) => Error::unsupported(first_line(text)),
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(inner) => classify(inner),
            None => Error::new(Sqlstate::DataException, first_line(&inner.to_string())),
        },
        other => Error::new(Sqlstate::DataException, first_line(&other.to_string())),
    }
}

/// `Cannot cast string 'x' to value of Int32 type` in PostgreSQL's words.
fn cast_error(text: &str) -> Error {
    let line = first_line(text);
    let too_large = line.strip_prefix("Can't cast value ").and_then(|rest| rest.rsplit_once(" to type "));
    if let Some(name) = too_large.and_then(|(_, arrow)| number_name(arrow)) {
        return Error::new(Sqlstate::NumericOutOfRange, format!("{name} out of range"));
    }
    let parts = line.strip_prefix("Cannot cast string '").and_then(|rest| rest.rsplit_once("' to value of "));
    let state = Sqlstate::InvalidTextRepresentation;
    let Some((value, arrow)) = parts else { return Error::new(state, line) };
    let name = match arrow.trim_end_matches(" type") {
        "Boolean" => "boolean",
        "Date32" | "Date64" => "date",
        other => match number_name(other) {
            Some(name) => name,
            None => return Error::new(state, line),
        },
    };
    Error::new(state, format!("invalid input syntax for type {name}: \"{value}\""))
}

/// PostgreSQL's name for an Arrow type of numbers.
fn number_name(arrow: &str) -> Option<&'static str> {
    Some(match arrow {
        "Int8" | "Int16" => "smallint",
        "Int32" => "integer",
        "Int64" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        other if other.starts_with("Decimal") => "numeric",
        _ => return None,
    })
}

fn schema_error(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, .. } => {
            // As PostgreSQL has it: a qualified name stands without quotes.
            let name = match &field.relation {
                Some(relation) => format!("{}.{}", relation.table(), field.name),
                None => format!("\"{}\"", field.name),
            };
            Error::new(Sqlstate::UndefinedColumn, format!("column {name} does not exist"))
        }
        SchemaError::AmbiguousReference { field } => {
            Error::new(Sqlstate::AmbiguousColumn, format!("column reference \"{}\" is ambiguous", field.name))
        }
        other => Error::new(Sqlstate::SyntaxError, first_line(&other.to_string())),
    }
}

fn plan_error(text: &str) -> Error {
    let line = first_line(text);
    if let Some(rest) = line.strip_prefix("table '").and_then(|r| r.strip_suffix("' not found")) {
        let name = rest.strip_prefix("kanon.").unwrap_or(rest);
        let name = name.strip_prefix("public.").or_else(|| name.strip_prefix("search_path.")).unwrap_or(name);
        return Error::new(Sqlstate::UndefinedTable, format!("relation \"{name}\" does not exist"));
    }
    if let Some(name) = line.strip_prefix("Invalid function '").and_then(|r| r.split('\'').next()) {
        return Error::new(Sqlstate::UndefinedFunction, format!("function {name} does not exist"))
            .hint("No function matches the given name and argument types. You might need to add explicit type casts.");
    }
    // Internal error: Function 'sum' failed to match any signature, …
    if let Some((before, _)) = line.split_once("' failed to match any signature")
        && let Some((_, name)) = before.rsplit_once("Function '")
    {
        return Error::new(Sqlstate::UndefinedFunction, format!("function {name} does not take these arguments"))
            .hint("No function matches the given name and argument types. You might need to add explicit type casts.");
    }
    let lower = line.to_lowercase();
    if lower.contains("must appear in the group by")
        && let Some(column) = line.split("column \"").nth(1).and_then(|rest| rest.split('"').next())
    {
        let message =
            format!("column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function");
        return Error::new(Sqlstate::GroupingError, message);
    }
    let state = if lower.starts_with("invalid function")
        || lower.contains("no function matches")
        || lower.contains("there is no")
    {
        Sqlstate::UndefinedFunction
    } else if lower.contains("must be in group by")
        || lower.contains("must appear in the group by")
        || lower.contains("cannot be resolved from available columns")
    {
        Sqlstate::GroupingError
    } else if lower.contains("coerce")
        || lower.contains("cast")
        || lower.contains("data type")
        || lower.contains("must be boolean")
        || lower.contains("signature")
    {
        Sqlstate::DatatypeMismatch
    } else {
        Sqlstate::SyntaxError
    };
    Error::new(state, line)
}

fn execution_error(text: &str) -> Error {
    let line = first_line(text);
    let lower = line.to_lowercase();
    if lower.contains("divide by zero") {
        Error::new(Sqlstate::DivisionByZero, "division by zero")
    } else if lower.contains("overflow") || lower.contains("out of range") {
        Error::new(Sqlstate::NumericOutOfRange, "value out of range")
    } else if lower.starts_with("field position must not be zero") {
        Error::new(Sqlstate::InvalidParameterValue, "field position must not be zero")
    } else if lower.starts_with("negative count not allowed") || lower.starts_with("overlay start position") {
        Error::new(Sqlstate::SubstringError, "negative substring length not allowed")
    } else {
        Error::new(Sqlstate::DataException, line)
    }
}

/// For streams, whose error type is DataFusion's.
impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}
