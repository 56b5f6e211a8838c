//! The attempts: read from `attempts.sql`, written for tables and protocols.

/// One attempt.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// What the trick is.
    pub name: String,
    /// The text, with `{p}`, `{v}`, `{r}` for tables and `<<value:type>>` for what may be a parameter.
    text: String,
    /// What to ask the files, if the attempt itself fails there.
    pub truth: Option<String>,
    /// Whether it makes no sense as a cursor, as COPY and the like.
    pub once: bool,
    /// Whether it is known to tell: a limit that is written down in docs, and must be taken from here when it has gone.
    pub known: bool,
    /// Gives the sizes of all cohorts behind what is released, if answers may differ at all.
    pub cohorts: Option<String>,
    /// The answer holds numbers with noise, behind so many columns of keys.
    pub released: Option<usize>,
}

/// A value that may be a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// As text.
    pub value: String,
    /// `int8`, `float8`, `text` or `date`.
    pub kind: &'static str,
}

/// The tables that stand for `{p}`, `{v}`, `{r}`.
#[derive(Debug, Clone)]
pub struct Names {
    patients: String,
    visits: String,
    regions: String,
}

impl Names {
    /// Tables of a schema (`""` or `beta.`) with a suffix.
    pub fn new(schema: &str, suffix: &str) -> Names {
        Names {
            patients: format!("{schema}patients{suffix}"),
            visits: format!("{schema}visits{suffix}"),
            regions: format!("{schema}regions"),
        }
    }

    /// Writes them into a text.
    pub fn write(&self, text: &str) -> String {
        text.replace("{p}", &self.patients).replace("{v}", &self.visits).replace("{r}", &self.regions)
    }
}

impl Attempt {
    /// The text with literals.
    pub fn sql(&self, names: &Names) -> String {
        self.with(names, |_, parameter| match parameter.kind {
            "text" => format!("'{}'", parameter.value),
            "date" => format!("DATE '{}'", parameter.value),
            _ => parameter.value.clone(),
        })
    }

    /// The text with parameters, and their values; `None` if it has none.
    pub fn parameterized(&self, names: &Names) -> Option<(String, Vec<Parameter>)> {
        let mut parameters = Vec::new();
        let sql = self.with(names, |number, parameter| {
            parameters.push(parameter);
            format!("${number}")
        });
        (!parameters.is_empty()).then_some((sql, parameters))
    }

    fn with(&self, names: &Names, mut write: impl FnMut(usize, Parameter) -> String) -> String {
        let text = names.write(&self.text);
        let mut out = String::new();
        let mut rest = text.as_str();
        let mut number = 0;
        while let Some((before, after)) = rest.split_once("<<") {
            let (inside, after) = after.split_once(">>").expect("<< is closed");
            let (value, kind) = inside.rsplit_once(':').expect("a parameter has a type");
            let kind = ["int8", "float8", "text", "date"].into_iter().find(|k| *k == kind).expect("a known type");
            number += 1;
            out.push_str(before);
            out.push_str(&write(number, Parameter { value: value.to_owned(), kind }));
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

/// All attempts.
pub fn all() -> Vec<Attempt> {
    read(include_str!("attempts.sql"))
}

/// What is asked of tables with private access.
pub fn of_private_tables() -> Vec<Attempt> {
    read(include_str!("private.sql"))
}

/// What only a peer may ask.
pub fn of_peers() -> Vec<Attempt> {
    read(include_str!("peer.sql"))
}

fn read(text: &str) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    let mut once = false;
    for block in text.split("\n\n") {
        if block.starts_with("-- # ") {
            once = block.ends_with("(once)");
        }
        let (mut name, mut text) = (String::new(), String::new());
        let (mut cohorts, mut truth, mut known, mut released) = (None, None, false, None);
        for line in block.lines() {
            match line.strip_prefix("-- ") {
                Some(comment) if text.is_empty() => match comment.strip_prefix("cohorts: ") {
                    Some(sql) => cohorts = Some(sql.to_owned()),
                    None if comment.starts_with("truth: ") => truth = comment.get(7..).map(str::to_owned),
                    None if comment.starts_with("released: ") => {
                        released = comment.get(10..).map(|n| n.parse().unwrap())
                    }
                    None if comment == "known" => known = true,
                    None => name = comment.to_owned(),
                },
                _ => text.push_str(line),
            }
        }
        if !text.is_empty() && !text.starts_with("--") {
            attempts.push(Attempt { name, text, truth, once, known, cohorts, released });
        }
    }
    attempts
}
