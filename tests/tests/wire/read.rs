//! Messages of the server, from bytes to lines.
//!
//! What must differ is left out: keys for cancelling, numbers of tables, the server's version, where in its source an error was made.

/// A message as a line.
pub fn shown(kind: u8, body: &[u8]) -> String {
    let mut body = Body(body);
    match kind {
        b'R' => match body.number(4) {
            0 => "AuthenticationOk".to_owned(),
            10 => format!("AuthenticationSASL{}", body.strings().iter().map(|s| format!(" {s}")).collect::<String>()),
            11 => "AuthenticationSASLContinue".to_owned(),
            12 => "AuthenticationSASLFinal".to_owned(),
            other => format!("Authentication {other}"),
        },
        b'K' => "BackendKeyData".to_owned(),
        b'S' => match (body.string(), body.string()) {
            (name, version) if name == "server_version" => {
                format!("ParameterStatus {name}={}", version.split('.').next().unwrap_or_default())
            }
            (name, value) => format!("ParameterStatus {name}={value}"),
        },
        b'Z' => format!("ReadyForQuery {}", char::from(body.0[0])),
        b'C' => format!("CommandComplete {}", body.string()),
        b'I' => "EmptyQueryResponse".to_owned(),
        b'1' => "ParseComplete".to_owned(),
        b'2' => "BindComplete".to_owned(),
        b'3' => "CloseComplete".to_owned(),
        b'n' => "NoData".to_owned(),
        b's' => "PortalSuspended".to_owned(),
        b'c' => "CopyDone".to_owned(),
        b't' => {
            let count = body.number(2);
            format!("ParameterDescription{}", (0..count).map(|_| format!(" {}", body.number(4))).collect::<String>())
        }
        b'T' => {
            let count = body.number(2);
            let columns = (0..count).map(|_| {
                let name = body.string();
                body.number(6);
                let (oid, length, modifier) = (body.number(4), body.number(2) as i16, body.number(4) as i32);
                let format = if body.number(2) == 0 { "" } else { ":binary" };
                format!(" {name}:{oid}:{length}:{modifier}{format}")
            });
            format!("RowDescription{}", columns.collect::<String>())
        }
        b'D' => {
            let count = body.number(2);
            let values = (0..count).map(|_| match body.number(4) as i32 {
                -1 => " NULL".to_owned(),
                length => format!(" {}", text_or_hex(body.bytes(length as usize))),
            });
            format!("DataRow{}", values.collect::<String>())
        }
        b'd' => format!("CopyData {}", text_or_hex(body.0)),
        b'G' | b'H' => {
            let (format, count) = (body.number(1), body.number(2));
            let columns: Vec<String> = (0..count).map(|_| body.number(2).to_string()).collect();
            format!(
                "{} {format} [{}]",
                if kind == b'G' { "CopyInResponse" } else { "CopyOutResponse" },
                columns.join(", ")
            )
        }
        b'E' | b'N' => problem(if kind == b'E' { "" } else { "Notice " }, &body.strings()),
        b'v' => {
            let (minor, count) = (body.number(4), body.number(4));
            let unknown: Vec<String> = (0..count).map(|_| body.string()).collect();
            format!("NegotiateProtocolVersion {minor} [{}]", unknown.join(", "))
        }
        other => format!("? {} {}", char::from(other), text_or_hex(body.0)),
    }
}

/// `ERROR 42601 @8 text; detail: …; hint: …`
fn problem(what: &str, fields: &[String]) -> String {
    let field = |key: char| fields.iter().find_map(|field| field.strip_prefix(key));
    let part = |before: &str, key: char| field(key).map_or(String::new(), |text| format!("{before}{text}"));
    assert_eq!(field('S'), field('V'), "both severities");
    let all = [
        part("", 'S'),
        part(" ", 'C'),
        part(" @", 'P'),
        part(" ", 'M').replace('\n', "\\n"),
        part("; detail: ", 'D'),
        part("; hint: ", 'H'),
    ];
    format!("{what}{}", all.concat())
}

fn text_or_hex(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t') => format!("{text:?}"),
        _ => format!("x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}

struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes
    }

    fn number(&mut self, bytes: usize) -> u64 {
        self.bytes(bytes).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn string(&mut self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap();
        let text = String::from_utf8_lossy(self.bytes(end)).into_owned();
        self.bytes(1);
        text
    }

    /// Up to an empty one.
    fn strings(&mut self) -> Vec<String> {
        std::iter::from_fn(|| Some(self.string()).filter(|text| !text.is_empty())).collect()
    }
}
