//! What a certificate calls its holder, and the same as an admin writes it.
//!
//! ```text
//! ALTER ROLE … SET kanon.certificate = 'CN=alice, O=Clinic' ─► CertificateName ◄─ subject of a certificate
//!                                      'email:alice@clinic.example'          ◄─ an entry of its SubjectAltName
//! ```
//!
//! A name is kept in the one way it can be written, so that two are the same if their texts are. A subject is the whole of it, in the order of RFC 4514, and nothing is folded:
//! neither case nor spaces. What cannot be read so is no name: a certificate that has none opens nothing.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::Tag;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::X509Name;

use crate::error::{Error, Result, Sqlstate};
use crate::tls::ListenerTls;

/// The longest name, in bytes of its text.
const MAX_NAME_BYTES: usize = 1_024;
/// The most attributes of a subject.
const MAX_ATTRIBUTES: usize = 32;
/// The most entries of a SubjectAltName: a certificate with more names nobody.
const MAX_ENTRIES: usize = 64;

/// How long a chain that was found good is not looked at again.
const GOOD_FOR_SECONDS: i64 = 60;

/// Attributes that are written by a word: RFC 4514, section 3, and some that authorities use.
const KEYWORDS: [(&str, &str); 14] = [
    ("CN", "2.5.4.3"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("C", "2.5.4.6"),
    ("STREET", "2.5.4.9"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("SN", "2.5.4.4"),
    ("GIVENNAME", "2.5.4.42"),
    ("TITLE", "2.5.4.12"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
];

/// A name of a certificate's holder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateName(String);

impl CertificateName {
    /// Reads a name as an admin writes it.
    ///
    /// # Errors
    /// 22023 for what cannot be the name of a certificate.
    pub fn parse(text: &str) -> Result<CertificateName> {
        let name = match text.split_once(':') {
            Some(("email", rest)) => entry("email", rest),
            Some(("dns", rest)) => entry("dns", rest),
            Some(("uri", rest)) => entry("uri", rest),
            _ => subject_of_text(text).and_then(written),
        };
        name.ok_or_else(|| {
            Error::new(
                Sqlstate::InvalidParameterValue,
                format!("\"{}\" is not a name of a certificate", text.escape_debug()),
            )
            .hint("Write the whole subject, such as CN=alice,O=Clinic, the last part first, or one entry of its SubjectAltName: email:…, dns:… (no wildcard) or uri:….")
        })
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is read of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// What it calls its holder: the subject first.
    pub names: Vec<CertificateName>,
    /// The last second at which it is valid, of Unix time.
    pub expires_at: i64,
}

/// Reads a certificate, in DER. It says nothing of whether the certificate is to be believed.
pub fn holder(certificate: &[u8]) -> Option<Holder> {
    let (rest, certificate) = X509Certificate::from_der(certificate).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let mut names: Vec<CertificateName> =
        subject_of_certificate(certificate.subject()).and_then(written).into_iter().collect();
    let entries = certificate.subject_alternative_name().ok()?;
    let entries = entries.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    if entries.len() > MAX_ENTRIES {
        return None;
    }
    names.extend(entries.iter().filter_map(|general| match general {
        GeneralName::RFC822Name(text) => entry("email", text),
        GeneralName::DNSName(text) => entry("dns", text),
        GeneralName::URI(text) => entry("uri", text),
        _ => None,
    }));
    Some(Holder { names, expires_at: certificate.validity().not_after.timestamp() })
}

/// A certificate that a session was opened with: it is looked at for as long as the session is open.
#[derive(Debug)]
pub struct ShownCertificate {
    /// What the role is known by.
    pub name: CertificateName,
    /// The last second at which it is valid, of Unix time.
    pub(super) expires_at: i64,
    /// The certificate, and those that lead to its authority.
    chain: Vec<CertificateDer<'static>>,
    /// By what it was found good last, and when, in seconds of Unix time.
    found_good: Mutex<(u64, i64)>,
}

impl PartialEq for ShownCertificate {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.chain) == (&other.name, &other.chain)
    }
}

impl Eq for ShownCertificate {}

impl ShownCertificate {
    /// A chain that was found good now by what is in force.
    pub(super) fn new(name: CertificateName, expires_at: i64, chain: &[CertificateDer<'_>], by: u64, now: i64) -> Self {
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        ShownCertificate { name, expires_at, chain, found_good: Mutex::new((by, now)) }
    }

    /// Whether the chain is still good: whatever is new in force is asked at once, and the same again after a minute, since authorities and revocation lists expire too.
    pub(super) fn is_good(&self, tls: &ListenerTls, now: i64) -> bool {
        let present = tls.present();
        let (by, at) = *self.found_good.lock().unwrap_or_else(PoisonError::into_inner);
        if by == present.number && now.saturating_sub(at) < GOOD_FOR_SECONDS {
            return true;
        }
        let is_good = tls.takes(&present, &self.chain);
        if is_good {
            *self.found_good.lock().unwrap_or_else(PoisonError::into_inner) = (present.number, now);
        }
        is_good
    }
}

/// An entry of a SubjectAltName: text that can be printed, and no pattern.
fn entry(kind: &str, text: &str) -> Option<CertificateName> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_pattern = kind == "dns" && text.contains('*');
    let name = format!("{kind}:{text}");
    (is_plain && !is_pattern && name.len() <= MAX_NAME_BYTES).then_some(CertificateName(name))
}

/// The parts of a subject, the last of the certificate first: attributes by OID, with their values.
type Subject = Vec<Vec<(String, String)>>;

/// The one way to write a subject.
fn written(mut subject: Subject) -> Option<CertificateName> {
    let attributes = subject.iter().map(Vec::len).sum::<usize>();
    if subject.is_empty() || subject.iter().any(Vec::is_empty) || attributes > MAX_ATTRIBUTES {
        return None;
    }
    let mut parts = Vec::with_capacity(subject.len());
    for part in &mut subject {
        part.sort();
        let mut attributes = Vec::with_capacity(part.len());
        for (oid, value) in part {
            if value.is_empty() || value.chars().any(char::is_control) {
                return None;
            }
            let keyword = KEYWORDS.iter().find(|(_, known)| known == oid).map_or(oid.as_str(), |(word, _)| word);
            attributes.push(format!("{keyword}={}", escaped(value)));
        }
        parts.push(attributes.join("+"));
    }
    let text = parts.join(",");
    (text.len() <= MAX_NAME_BYTES).then_some(CertificateName(text))
}

/// A value as RFC 4514, section 2.4, writes it.
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (at, c) in value.chars().enumerate() {
        let is_special = matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\');
        if is_special || (c == ' ' && (at == 0 || at == last)) || (c == '#' && at == 0) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

fn subject_of_certificate(name: &X509Name<'_>) -> Option<Subject> {
    let part = |attributes: &x509_parser::x509::RelativeDistinguishedName<'_>| {
        attributes
            .iter()
            .map(|attribute| {
                let value = attribute.attr_value();
                let text = match value.tag() {
                    Tag::Utf8String => std::str::from_utf8(value.data).ok()?,
                    Tag::PrintableString | Tag::Ia5String | Tag::NumericString if value.data.is_ascii() => {
                        std::str::from_utf8(value.data).ok()?
                    }
                    _ => return None,
                };
                Some((dotted(attribute.attr_type().as_bytes())?, text.to_owned()))
            })
            .collect::<Option<Vec<_>>>()
    };
    let mut parts = name.iter_rdn().map(part).collect::<Option<Vec<_>>>()?;
    parts.reverse();
    Some(parts)
}

/// An OID's content as numbers with dots (X.690, section 8.19).
fn dotted(content: &[u8]) -> Option<String> {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number: u64 = 0;
    let mut is_whole = true;
    for byte in content {
        // No number begins with zeros: else there would be two ways to write it.
        if is_whole && *byte == 0x80 {
            return None;
        }
        number = number.checked_mul(128)?.checked_add(u64::from(byte & 0x7f))?;
        is_whole = byte & 0x80 == 0;
        if is_whole {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.push(first);
                number -= first * 40;
            }
            numbers.push(number);
            number = 0;
        }
    }
    let texts: Vec<String> = numbers.iter().map(u64::to_string).collect();
    (is_whole && !texts.is_empty()).then(|| texts.join("."))
}

/// Reads the text of RFC 4514. Spaces around the parts do not count, unless they are escaped.
fn subject_of_text(text: &str) -> Option<Subject> {
    if text.len() > MAX_NAME_BYTES {
        return None;
    }
    let mut subject = Subject::new();
    let mut part = Vec::new();
    let mut rest = text;
    loop {
        let (keyword, after) = rest.split_once('=')?;
        let oid = oid_of(keyword.trim_matches(' '))?;
        let (value, end, after) = value_of_text(after)?;
        part.push((oid, value));
        if end != Some('+') {
            subject.push(std::mem::take(&mut part));
        }
        match end {
            None => return Some(subject),
            Some(_) => rest = after,
        }
    }
}

fn oid_of(keyword: &str) -> Option<String> {
    if let Some((_, oid)) = KEYWORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(keyword)) {
        return Some((*oid).to_owned());
    }
    let is_number = |number: &str| {
        !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && (number == "0" || !number.starts_with('0'))
    };
    (keyword.contains('.') && keyword.split('.').all(is_number)).then(|| keyword.to_owned())
}

/// A value, the sign that it ends with, and what follows.
fn value_of_text(text: &str) -> Option<(String, Option<char>, &str)> {
    let text = text.trim_start_matches(' ');
    // Values by their encoding are not read.
    if text.starts_with('#') {
        return None;
    }
    let mut value: Vec<u8> = Vec::new();
    // What cannot be cut off again as spaces at the end.
    let mut kept = 0;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ',' | '+' => {
                value.truncate(kept);
                return Some((String::from_utf8(value).ok()?, Some(c), text.get(at + 1..)?));
            }
            '\\' => {
                let (_, escaped) = chars.next()?;
                match escaped.to_digit(16) {
                    Some(high) => {
                        let low = chars.next()?.1.to_digit(16)?;
                        value.push(u8::try_from(high * 16 + low).ok()?);
                    }
                    None if matches!(escaped, ' ' | '"' | '#' | '+' | ',' | ';' | '<' | '=' | '>' | '\\') => {
                        value.push(u8::try_from(escaped).ok()?);
                    }
                    None => return None,
                }
                kept = value.len();
            }
            '"' | ';' | '<' | '>' | '\0' => return None,
            c => {
                value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                if c != ' ' {
                    kept = value.len();
                }
            }
        }
    }
    value.truncate(kept);
    Some((String::from_utf8(value).ok()?, None, ""))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(subject: &[(DnType, &str)], names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (attribute, value) in subject {
            params.distinguished_name.push(attribute.clone(), *value);
        }
        params.subject_alt_names = names;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn names(certificate: &[u8]) -> Vec<String> {
        holder(certificate).unwrap().names.iter().map(ToString::to_string).collect()
    }

    fn read(text: &str) -> Option<String> {
        CertificateName::parse(text).ok().map(|name| name.to_string())
    }

    #[test]
    fn a_certificate_and_an_admin_write_the_same() {
        let ia5 = |text: &str| Ia5String::try_from(text).unwrap();
        let made = certificate(
            &[(DnType::OrganizationName, "Clinic, Zürich + \"Co\""), (DnType::CommonName, "#1 alice \\ ")],
            vec![
                SanType::Rfc822Name(ia5("alice@clinic.example")),
                SanType::DnsName(ia5("etl.clinic.example")),
                SanType::DnsName(ia5("*.clinic.example")),
                SanType::URI(ia5("spiffe://clinic/etl")),
            ],
        );
        let subject = "CN=\\#1 alice \\\\\\ ,O=Clinic\\, Zürich \\+ \\\"Co\\\"";
        assert_eq!(
            names(&made),
            [subject, "email:alice@clinic.example", "dns:etl.clinic.example", "uri:spiffe://clinic/etl"]
        );
        assert_eq!(read(subject).as_deref(), Some(subject));
        assert_eq!(
            read("cn = \\#1 alice \\5C\\20 , 2.5.4.10=Clinic\\2C Z\\C3\\BCrich \\+ \\\"Co\\\"").as_deref(),
            Some(subject)
        );
        assert_eq!(read("O=b+CN=a, C=CH").as_deref(), read("CN=a+O=b,C=CH").as_deref());
        assert_ne!(read("CN=a,O=b"), read("O=b,CN=a"));
        assert_ne!(read("CN=a"), read("CN=A"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "alice",
            "=",
            "CN=",
            "CN=a,",
            "CN=a,,O=b",
            "CN=a;O=b",
            "CN=\"a\"",
            "CN=#0401",
            "CN=a\\",
            "CN=a\\x",
            "CN=a\\C3",
            "XX=a",
            "1=a",
            "1..2=a",
            "2.05.4.3=a",
            "CN=a\u{7}",
            "email:",
            "email:a b",
            "dns:*.clinic",
            "uri:\u{e9}",
            "ip:10.0.0.1",
            "CN=a+",
            "CN=a\0",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(read(&format!("CN={}", "a".repeat(2_000))), None);
        assert_eq!(read(&vec!["CN=a"; 40].join(",")), None);
    }

    #[test]
    fn bytes_that_are_no_certificate_name_nobody() {
        let made = certificate(&[(DnType::CommonName, "alice")], Vec::new());
        for at in 0..made.len() {
            let mut damaged = made.clone();
            if let Some(byte) = damaged.get_mut(at) {
                *byte ^= 0xff;
            }
            let _ = holder(&damaged);
            let _ = holder(made.get(..at).unwrap());
        }
        assert_eq!(holder(&[made.as_slice(), b"x"].concat()), None);
        let entries = (0..100).map(|i| SanType::DnsName(Ia5String::try_from(format!("h{i}")).unwrap())).collect();
        assert_eq!(holder(&certificate(&[(DnType::CommonName, "alice")], entries)), None);
    }

    #[test]
    fn an_oid_is_read_in_one_way() {
        assert_eq!(dotted(&[0x55, 4, 3]).as_deref(), Some("2.5.4.3"));
        assert_eq!(dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]).as_deref(), Some("1.2.840.113549.1.9.1"));
        assert_eq!(
            dotted(&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25]).as_deref(),
            Some("0.9.2342.19200300.100.1.25")
        );
        for bad in [&[][..], &[0x55, 0x80, 4], &[0x55, 0x84], &[0xff; 20]] {
            assert_eq!(dotted(bad), None, "{bad:?}");
        }
    }
}
