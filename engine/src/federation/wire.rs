//! Our error as a gRPC status, and back: SQLSTATE, detail and hint travel as metadata, so that a coordinator shows what the
//! site said.

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use super::client::SiteError;
use crate::error::{Error, Sqlstate};

const SQLSTATE: &str = "kanon-sqlstate";
const DETAIL: &str = "kanon-detail-bin";
const HINT: &str = "kanon-hint-bin";
const POSITION: &str = "kanon-position";

/// Most bytes of a text in a status: it travels in HTTP/2 headers, whose size clients bound (8 KiB in some).
const MAX_MESSAGE_BYTES: usize = 2_000;
const MAX_EXTRA_BYTES: usize = 1_000;

/// The status that clients and peers get for an error.
pub fn to_status(error: &Error) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(SQLSTATE, MetadataValue::from_static(error.state.code()));
    for (key, text) in [(DETAIL, &error.detail), (HINT, &error.hint)] {
        if let Some(text) = text {
            metadata.insert_bin(key, MetadataValue::from_bytes(cut(text, MAX_EXTRA_BYTES).as_bytes()));
        }
    }
    if let Some(position) = error.position {
        metadata.insert(POSITION, MetadataValue::from(u64::try_from(position).unwrap_or(0)));
    }
    Status::with_metadata(error.state.grpc(), cut(&error.message, MAX_MESSAGE_BYTES), metadata)
}

/// What a status says of the site it came from.
pub fn from_status(status: &Status) -> SiteError {
    let metadata = status.metadata();
    let Some(code) = metadata.get(SQLSTATE).and_then(|v| v.to_str().ok()) else {
        // Not an answer of a node: the transport's own status, or a proxy's, or another program's.
        let text = describe(status);
        return match status.code() {
            Code::Unimplemented => SiteError::VersionMismatch(text),
            _ => SiteError::Unreachable(text),
        };
    };
    let text = |key: &str| {
        let bytes = metadata.get_bin(key)?.to_bytes().ok()?;
        Some(cut(&String::from_utf8_lossy(&bytes), MAX_EXTRA_BYTES).to_owned())
    };
    SiteError::Answered(Error {
        state: Sqlstate::from_code(code),
        message: cut(status.message(), MAX_MESSAGE_BYTES).to_owned(),
        detail: text(DETAIL),
        hint: text(HINT),
        // It would point into the subplan, which the user did not write.
        position: None,
    })
}

/// The status and what caused it, for the log.
pub(super) fn describe(status: &Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_back_as_it_left() {
        let error = Error::new(Sqlstate::InsufficientPrivilege, "rows of \"patiënts\" may not leave")
            .hint("Ask for count(*).")
            .detail("Čas.");
        let status = to_status(&error);
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(from_status(&status), SiteError::Answered(error));
    }

    #[test]
    fn what_no_node_said_is_not_an_answer() {
        assert!(matches!(from_status(&Status::unavailable("connection refused")), SiteError::Unreachable(_)));
        assert!(matches!(from_status(&Status::unimplemented("no such method")), SiteError::VersionMismatch(_)));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let status = to_status(&Error::unsupported("é".repeat(5_000)));
        assert!(status.message().len() <= MAX_MESSAGE_BYTES);
        assert!(status.message().chars().all(|c| c == 'é'));
    }
}
