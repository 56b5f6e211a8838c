//! The form of the cases.
//!
//! ```text
//! # a title, after which the case begins; other lines with a number sign are remarks
//! differs: why the node answers otherwise; then it must
//! > Parse "s" "SELECT $1" 23          a message of the client, see `send`
//! > Bind "p" "s" values=["1"]
//! > Sync
//! < ParseComplete                     what the server answers, see `read`
//! < …
//! ```
//!
//! Messages of the client are sent together up to those of the server, which are then waited for before the next are sent. A case begins
//! logged in, or, if its first message is one of those before that, with a new socket. It ends with `(closed)` if the server closes
//! the connection; otherwise that still answers a Sync.

/// Messages that are sent together, and their answer.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// What to send, as lines.
    pub send: Vec<String>,
    /// What comes back, as lines.
    pub answer: Vec<String>,
}

/// One conversation.
#[derive(Debug, Clone, Default)]
pub struct Case {
    /// What it shows.
    pub title: String,
    /// Why the node answers otherwise.
    pub differs: Option<String>,
    /// What is said.
    pub steps: Vec<Step>,
}

impl Case {
    /// Whether it is logged in when it ends, unless the connection is then closed.
    pub fn ends_logged_in(&self) -> bool {
        self.logged_in() || self.steps.iter().any(|step| step.send.iter().any(|line| line.starts_with("Scram")))
    }

    /// Whether the connection is already logged in when it begins.
    pub fn logged_in(&self) -> bool {
        let first = self.steps.first().and_then(|step| step.send.first()).map_or("", String::as_str);
        !["Startup", "SSLRequest", "GSSENCRequest", "CancelRequest", "Opening"]
            .iter()
            .any(|word| first.starts_with(word))
    }
}

/// Reads the cases of a file.
pub fn parse(text: &str) -> Result<Vec<Case>, String> {
    let mut cases: Vec<Case> = Vec::new();
    let mut blank = true;
    for (number, line) in text.lines().enumerate() {
        let was_blank = std::mem::replace(&mut blank, line.trim().is_empty());
        if let Some(title) = line.strip_prefix("# ") {
            // A remark stands within a case, a title after an empty line.
            if was_blank {
                cases.push(Case { title: title.to_owned(), ..Case::default() });
            }
            continue;
        }
        if blank {
            continue;
        }
        let case = cases.last_mut().ok_or_else(|| format!("line {}: no title", number + 1))?;
        if let Some(why) = line.strip_prefix("differs: ") {
            case.differs = Some(why.to_owned());
        } else if let Some(message) = line.strip_prefix("> ") {
            if case.steps.last().is_none_or(|step| !step.answer.is_empty()) {
                case.steps.push(Step::default());
            }
            case.steps.last_mut().unwrap().send.push(message.to_owned());
        } else if let Some(message) = line.strip_prefix("< ") {
            let step = case.steps.last_mut().ok_or_else(|| format!("line {}: nothing was sent", number + 1))?;
            step.answer.push(message.to_owned());
        } else {
            return Err(format!("line {}: {line}", number + 1));
        }
    }
    Ok(cases)
}

/// The file anew, with other answers; its remarks stay.
pub fn print(text: &str, cases: &[Case]) -> String {
    let mut out = Vec::new();
    let mut steps = cases.iter().flat_map(|case| case.steps.iter());
    // What is still to be sent, and is then answered.
    let (mut left, mut answer): (usize, &[String]) = (0, &[]);
    for line in text.lines().filter(|line| !line.starts_with("< ")) {
        out.push(line.to_owned());
        if line.starts_with("> ") {
            if left == 0
                && let Some(step) = steps.next()
            {
                (left, answer) = (step.send.len(), &step.answer);
            }
            left -= 1;
            if left == 0 {
                out.extend(answer.iter().map(|line| format!("< {line}")));
            }
        }
    }
    out.join("\n") + "\n"
}
