//! What the configuration says of the issuer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use url::{Host, Url};

use crate::error::{Error, Result, Sqlstate};

/// The issuer whose tokens are taken, and what is made of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSettings {
    /// Its URL, exactly as its tokens name it (`iss`).
    pub issuer: String,
    /// What tokens for this node are for (`aud`).
    pub audience: String,
    /// Where its keys are; found through its discovery document unless set.
    pub jwks_url: Option<Url>,
    /// Authorities, PEM, that its TLS certificate may be of, besides those of the machine.
    pub ca: Option<PathBuf>,
    /// The claim that names a new role; `preferred_username` unless set.
    pub name_claim: String,
    /// The claim that lists roles, with dots where it lies deeper; `roles` unless set.
    pub roles_claim: String,
    /// What the issuer's roles are here: by its name, ours.
    pub roles: BTreeMap<String, String>,
}

/// The keys of the configuration as they are written.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
    pub(crate) jwks_url: Option<String>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) name_claim: Option<String>,
    pub(crate) roles_claim: Option<String>,
    pub(crate) roles: Vec<String>,
}

impl OidcSettings {
    /// Those of the configuration; `None` if it names no issuer.
    ///
    /// # Errors
    /// 22023 with the key that cannot be, or that does nothing without an issuer.
    pub(crate) fn read(written: Written) -> Result<Option<OidcSettings>> {
        let Some(issuer) = written.issuer else {
            let alone = [
                ("oidc_audience", written.audience.is_some()),
                ("oidc_jwks_url", written.jwks_url.is_some()),
                ("oidc_ca", written.ca.is_some()),
                ("oidc_name_claim", written.name_claim.is_some()),
                ("oidc_roles_claim", written.roles_claim.is_some()),
                ("oidc_roles", !written.roles.is_empty()),
            ];
            return match alone.iter().find(|(_, is_set)| *is_set) {
                Some((key, _)) => Err(invalid(format!("{key} is set, but not oidc_issuer"))),
                None => Ok(None),
            };
        };
        endpoint("oidc_issuer", &issuer)?;
        let audience = written.audience.filter(|audience| !audience.is_empty()).ok_or_else(|| {
            invalid("oidc_audience is not set".to_owned())
                .hint("Tokens that the issuer made for others are not to be taken here: name what it calls this node.")
        })?;
        Ok(Some(OidcSettings {
            jwks_url: written.jwks_url.map(|url| endpoint("oidc_jwks_url", &url)).transpose()?,
            issuer,
            audience,
            ca: written.ca,
            name_claim: written.name_claim.unwrap_or_else(|| "preferred_username".to_owned()),
            roles_claim: written.roles_claim.unwrap_or_else(|| "roles".to_owned()),
            roles: written.roles.iter().map(|entry| role(entry)).collect::<Result<_>>()?,
        }))
    }

    /// The roles that the issuer gives and takes here.
    pub(crate) fn managed(&self) -> BTreeSet<String> {
        self.roles.values().cloned().collect()
    }
}

/// A URL that the issuer's answers are believed from: over TLS, or on this machine.
///
/// # Errors
/// 22023 for any other.
pub(super) fn endpoint(key: &str, text: &str) -> Result<Url> {
    let url = Url::parse(text).map_err(|_| invalid(format!("{key} must be a URL, not \"{text}\"")))?;
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    };
    if url.scheme() == "https" && url.host().is_some() || url.scheme() == "http" && is_local {
        return Ok(url);
    }
    Err(invalid(format!("{key} must begin with https://, not \"{text}\""))
        .hint("Whoever stands between could send keys of its own."))
}

fn role(entry: &str) -> Result<(String, String)> {
    match entry.rsplit_once('=') {
        Some((theirs, ours)) if !theirs.trim().is_empty() && !ours.trim().is_empty() => {
            Ok((theirs.trim().to_owned(), ours.trim().to_owned()))
        }
        _ => Err(invalid(format!("oidc_roles: \"{entry}\" is not \"role of the issuer = role of this node\""))
            .hint("For example oidc_roles = [\"kanon-analysts=analyst\"].")),
    }
}

fn invalid(message: String) -> Error {
    Error::new(Sqlstate::InvalidParameterValue, message)
}
