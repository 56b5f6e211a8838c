//! Functions of regular expressions: PostgreSQL's matches, and no others.
//!
//! Of the matches that begin first PostgreSQL takes the longest, or the shortest if the expression's first quantifier is not greedy; most engines take
//! the one that the alternatives' order prefers. So the place where a match begins is found by one automaton, its end by a second that
//! knows all ends, and what the groups hold by a third between the two. If the order of alternatives would change what groups hold, that is an error.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use regex_automata::hybrid::dfa::{Cache as DfaCache, DFA};
use regex_automata::meta::Regex;
use regex_automata::nfa::thompson::Config as NfaConfig;
use regex_automata::nfa::thompson::pikevm::{Cache as VmCache, PikeVM};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input, MatchKind};

use super::expressions::{Options, Read, Wanted, read};
use super::lengths::{MOST_OF_BATCH, too_large};
use super::reading::Template;
use super::rows::{Give, Kind, Row, Spec, Value, spec};
use crate::error::{Error, Result, Sqlstate};

/// The most memory of an automaton in bytes, and the most steps that the texts of one batch may take.
const MOST_BYTES: usize = 4 << 20;
const MOST_STEPS: u64 = 100_000_000;
/// How many expressions are kept of a batch.
const MOST_KEPT: usize = 16;
/// How many steps of the second automaton one of the third takes.
const STEPS_OF_GROUPS: u64 = 20;

/// Where a match and each of its groups is, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Match {
    start: usize,
    end: usize,
    groups: Vec<Option<(usize, usize)>>,
}

/// The patterns of a batch, read once: expressions ready to be matched, and the template of moments that came last.
#[derive(Default)]
pub(super) struct Patterns {
    known: HashMap<(String, String), Pattern>,
    steps: u64,
    template: Option<(String, Template)>,
}

struct Pattern {
    options: Options,
    begins: Regex,
    ends: Option<(DFA, DfaCache)>,
    wanted: Option<Wanted>,
    /// What knows the groups, and all ends too.
    groups: Option<(PikeVM, VmCache)>,
    /// The same with alternatives the other way round.
    reversed: Option<(PikeVM, VmCache)>,
}

fn too_complex<E>(_: E) -> Error {
    Error::new(Sqlstate::InvalidRegularExpression, "invalid regular expression: regular expression is too complex")
}

fn vm(regex: &str) -> Result<(PikeVM, VmCache)> {
    let vm = PikeVM::builder()
        .configure(PikeVM::config().match_kind(MatchKind::All))
        .thompson(NfaConfig::new().nfa_size_limit(Some(MOST_BYTES)))
        .build(regex)
        .map_err(too_complex)?;
    let cache = vm.create_cache();
    Ok((vm, cache))
}

fn dfa(regex: &str) -> Result<(DFA, DfaCache)> {
    let config = DFA::config()
        .match_kind(MatchKind::All)
        .unicode_word_boundary(true)
        .skip_cache_capacity_check(true)
        .cache_capacity(MOST_BYTES);
    let dfa = DFA::builder()
        .configure(config)
        .thompson(NfaConfig::new().nfa_size_limit(Some(MOST_BYTES)))
        .build(regex)
        .map_err(too_complex)?;
    let cache = dfa.create_cache();
    Ok((dfa, cache))
}

impl Pattern {
    fn new(pattern: &str, flags: &str) -> Result<Pattern> {
        let options = Options::new(flags)?;
        let Read { regex, reversed, wanted } = read(pattern, options)?;
        let begins = Regex::builder()
            .configure(Regex::config().nfa_size_limit(Some(MOST_BYTES)).hybrid_cache_capacity(MOST_BYTES))
            .build(&regex)
            .map_err(too_complex)?;
        let has_groups = begins.captures_len() > 1;
        let ends = if wanted.is_some() { Some(dfa(&regex)?) } else { None };
        let groups = if wanted.is_some() || has_groups { Some(vm(&regex)?) } else { None };
        let reversed = reversed.filter(|_| has_groups).as_deref().map(vm).transpose()?;
        Ok(Pattern { options, begins, ends, wanted, groups, reversed })
    }

    fn has_groups(&self) -> bool {
        self.begins.captures_len() > 1
    }

    /// The first match from a place of a text on.
    fn find(&mut self, text: &str, from: usize, steps: &mut u64) -> Result<Option<Match>> {
        let Some(found) = self.begins.search(&Input::new(text).range(from..)) else {
            *steps += (text.len() - from) as u64;
            return Ok(None);
        };
        let (start, mut end) = (found.start(), found.end());
        *steps += (end - from) as u64;
        let has_groups = self.has_groups();
        if let (Some(wanted), Some((dfa, cache)), Some(groups)) = (self.wanted, &mut self.ends, &mut self.groups) {
            end = match end_of(dfa, cache, text, start, wanted, steps)? {
                Some(end) => end,
                // Boundaries of words in a text that is not of ASCII alone.
                None => {
                    *steps += STEPS_OF_GROUPS * (text.len() - start) as u64;
                    let is_shortest = wanted == Wanted::Shortest;
                    groups_of(groups, text, start..text.len(), is_shortest)
                        .first()
                        .copied()
                        .flatten()
                        .map_or(end, |of| of.1)
                }
            };
        }
        let mut all = Vec::new();
        if let Some(groups) = self.groups.as_mut().filter(|_| has_groups) {
            *steps += STEPS_OF_GROUPS * (1 + end - start) as u64;
            all = groups_of(groups, text, start..end, false);
            if let Some(reversed) = &mut self.reversed
                && groups_of(reversed, text, start..end, false) != all
            {
                let message =
                    "what the groups of this regular expression hold depends on the order of its alternatives";
                return Err(Error::unsupported(message).hint("Write the alternatives so that only one can match."));
            }
        }
        if *steps > MOST_STEPS {
            let message = "matching a regular expression takes too long";
            return Err(Error::new(Sqlstate::StatementTooComplex, message));
        }
        Ok(Some(Match { start, end, groups: all.into_iter().skip(1).collect() }))
    }

    /// All matches, as `g` has them: the next one begins where the last one ends, and a character later if that was empty.
    fn all(&mut self, text: &str, from: usize, steps: &mut u64) -> Result<Vec<Match>> {
        let mut matches = Vec::new();
        let mut from = from;
        while let Some(found) = self.find(text, from, steps)? {
            from = found.end;
            if found.start == found.end {
                from += text.get(found.end..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
            }
            matches.push(found);
            if from > text.len() {
                break;
            }
        }
        Ok(matches)
    }
}

/// Where the match that is wanted ends; `None` if the automaton cannot tell.
fn end_of(
    dfa: &DFA,
    cache: &mut DfaCache,
    text: &str,
    start: usize,
    wanted: Wanted,
    steps: &mut u64,
) -> Result<Option<usize>> {
    let input = Input::new(text).range(start..).anchored(Anchored::Yes);
    let Ok(mut state) = dfa.start_state_forward(cache, &input) else { return Ok(None) };
    let bytes = text.as_bytes();
    let (mut end, mut at) = (None, start);
    loop {
        let byte = bytes.get(at);
        state = match byte {
            Some(byte) => dfa.next_state(cache, state, *byte).map_err(too_complex)?,
            None => dfa.next_eoi_state(cache, state).map_err(too_complex)?,
        };
        *steps += 1;
        if state.is_match() {
            // A match is known of one byte after its end.
            end = Some(at);
            if wanted == Wanted::Shortest {
                return Ok(end);
            }
        } else if state.is_dead() {
            return Ok(end);
        } else if state.is_quit() {
            return Ok(None);
        }
        if byte.is_none() {
            return Ok(end);
        }
        at += 1;
    }
}

/// Where a match of a part of a text, and each of its groups, is.
fn groups_of(
    (vm, cache): &mut (PikeVM, VmCache),
    text: &str,
    of: std::ops::Range<usize>,
    is_shortest: bool,
) -> Vec<Option<(usize, usize)>> {
    let input = Input::new(text).range(of).anchored(Anchored::Yes).earliest(is_shortest);
    let mut slots = vec![None; vm.get_nfa().group_info().slot_len()];
    vm.search_slots(cache, &input, &mut slots);
    let place = |slot: Option<&Option<NonMaxUsize>>| slot.copied().flatten().map(NonMaxUsize::get);
    slots.chunks(2).map(|both| Some((place(both.first())?, place(both.get(1))?))).collect()
}

impl Patterns {
    /// The template that a text is.
    pub(super) fn template(&mut self, pattern: &str) -> Result<&Template> {
        let known = match self.template.take().filter(|(same, _)| same == pattern) {
            Some(known) => known,
            None => (pattern.to_owned(), Template::new(pattern)?),
        };
        Ok(&self.template.insert(known).1)
    }

    fn of(&mut self, pattern: &str, flags: &str) -> Result<(&mut Pattern, &mut u64)> {
        let key = (pattern.to_owned(), flags.to_owned());
        if self.known.len() >= MOST_KEPT && !self.known.contains_key(&key) {
            self.known.clear();
        }
        let known = match self.known.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Pattern::new(pattern, flags)?),
        };
        Ok((known, &mut self.steps))
    }
}

pub(super) const SPECS: [Spec; 8] = [
    spec("kanon_pattern_matches", TWO_OR_FLAGS, Give::Rows, |row, patterns| {
        let (text, pattern, flags) = three(row);
        let (pattern, steps) = patterns.of(pattern, flags)?;
        let mut found = match pattern.options.is_global {
            true => pattern.all(text, 0, steps)?,
            false => pattern.find(text, 0, steps)?.into_iter().collect(),
        };
        Ok(Value::Rows(found.drain(..).map(|found| captured(text, &found)).collect()))
    }),
    spec("regexp_match", TWO_OR_FLAGS, Give::Texts, |row, patterns| {
        let (text, pattern, flags) = three(row);
        refuse_global(flags, "regexp_match()", Some("Use the regexp_matches function instead."))?;
        let (pattern, steps) = patterns.of(pattern, flags)?;
        Ok(match pattern.find(text, 0, steps)? {
            Some(found) => Value::Texts(captured(text, &found)),
            None => Value::Null,
        })
    }),
    spec("regexp_split_to_array", TWO_OR_FLAGS, Give::Texts, |row, patterns| {
        let (text, pattern, flags) = three(row);
        refuse_global(flags, "regexp_split_to_array()", None)?;
        let (pattern, steps) = patterns.of(pattern, flags)?;
        let (mut parts, mut last) = (Vec::new(), 0);
        for found in pattern.all(text, 0, steps)? {
            // An empty match splits nothing where something was split already, nor at the ends.
            if found.start < text.len() && found.end > last {
                parts.push(text.get(last..found.start).map(str::to_owned));
                last = found.end;
            }
        }
        parts.push(text.get(last..).map(str::to_owned));
        Ok(Value::Texts(parts))
    }),
    spec("kanon_pattern_substring", &[&[Kind::Text, Kind::Text]], Give::Text, |row, patterns| {
        let (text, pattern, _) = three(row);
        let (pattern, steps) = patterns.of(pattern, "")?;
        let Some(found) = pattern.find(text, 0, steps)? else { return Ok(Value::Null) };
        let place =
            if pattern.has_groups() { found.groups.first().copied().flatten() } else { Some((found.start, found.end)) };
        Ok(place.and_then(|(start, end)| text.get(start..end)).map(str::to_owned).into())
    }),
    spec(
        "regexp_substr",
        &[
            &[Kind::Text, Kind::Text],
            &[Kind::Text, Kind::Text, Kind::Whole],
            &[Kind::Text, Kind::Text, Kind::Whole, Kind::Whole],
            &[Kind::Text, Kind::Text, Kind::Whole, Kind::Whole, Kind::Text],
            &[Kind::Text, Kind::Text, Kind::Whole, Kind::Whole, Kind::Text, Kind::Whole],
        ],
        Give::Text,
        |row, patterns| {
            let (text, pattern, _) = three(row);
            let flags = row.text(4).unwrap_or_default();
            refuse_global(flags, "regexp_substr()", None)?;
            let place = nth(row, patterns, (text, pattern, flags), [2, 3, 5])?;
            Ok(place.and_then(|(start, end)| text.get(start..end)).map(str::to_owned).into())
        },
    ),
    spec(
        "kanon_pattern_instr",
        &[
            &[Kind::Text, Kind::Text, Kind::Whole, Kind::Whole, Kind::Whole],
            &[Kind::Text, Kind::Text, Kind::Whole, Kind::Whole, Kind::Whole, Kind::Text],
            &[Kind::Text, Kind::Text, Kind::Whole, Kind::Whole, Kind::Whole, Kind::Text, Kind::Whole],
        ],
        Give::Int4,
        |row, patterns| {
            let (text, pattern, _) = three(row);
            let flags = row.text(5).unwrap_or_default();
            refuse_global(flags, "regexp_instr()", None)?;
            let wants_end = match row.whole(4).unwrap_or(0) {
                0 => false,
                1 => true,
                other => return Err(parameter("endoption", other)),
            };
            let place = nth(row, patterns, (text, pattern, flags), [2, 3, 6])?;
            let at = place.map(|(start, end)| if wants_end { end } else { start });
            let before = at.and_then(|at| text.get(..at)).map(|before| before.chars().count());
            Ok(Value::Int(before.and_then(|count| i64::try_from(count).ok()).map_or(0, |count| count + 1)))
        },
    ),
    spec(
        "kanon_pattern_replace",
        &[
            &[Kind::Text, Kind::Text, Kind::Text],
            &[Kind::Text, Kind::Text, Kind::Text, Kind::Text],
            &[Kind::Text, Kind::Text, Kind::Text, Kind::Whole],
            &[Kind::Text, Kind::Text, Kind::Text, Kind::Whole, Kind::Whole],
            &[Kind::Text, Kind::Text, Kind::Text, Kind::Whole, Kind::Whole, Kind::Text],
        ],
        Give::Text,
        |row, patterns| {
            let (text, pattern, with) = three(row);
            let flags = row.text(3).or_else(|| row.text(5)).unwrap_or_default();
            let start = row.whole(3).unwrap_or(1);
            let from = place_of(text, start).ok_or_else(|| parameter("start", start))?;
            let (pattern, steps) = patterns.of(pattern, flags)?;
            let wanted = match row.whole(4) {
                Some(number) if number < 0 => return Err(parameter("n", number)),
                Some(0) => None,
                Some(number) => usize::try_from(number).ok(),
                None if pattern.options.is_global => None,
                None => Some(1),
            };
            let (mut out, mut last) = (String::new(), 0);
            for (place, found) in pattern.all(text, from, steps)?.iter().enumerate() {
                if wanted.is_some_and(|wanted| wanted != place + 1) {
                    continue;
                }
                out.push_str(text.get(last..found.start).unwrap_or_default());
                replacement(&mut out, text, with, found);
                last = found.end;
                if out.len() as u64 > MOST_OF_BATCH {
                    return Err(too_large());
                }
            }
            out.push_str(text.get(last..).unwrap_or_default());
            Ok(Value::Text(out))
        },
    ),
    // A pattern of `substring(text FROM pattern FOR escape)`.
    spec("kanon_similar_substring", &[&[Kind::Text, Kind::Text, Kind::Text]], Give::Text, |_, _| {
        Err(Error::unsupported("substring(text FROM pattern FOR escape) is not supported")
            .hint("Use substring(text FROM pattern) with a regular expression."))
    }),
];

const TWO_OR_FLAGS: &[&[Kind]] = &[&[Kind::Text, Kind::Text], &[Kind::Text, Kind::Text, Kind::Text]];

fn three<'a>(row: &Row<'a>) -> (&'a str, &'a str, &'a str) {
    let text = |i| row.text(i).unwrap_or_default();
    (text(0), text(1), text(2))
}

fn refuse_global(flags: &str, function: &str, hint: Option<&str>) -> Result<()> {
    if !Options::new(flags)?.is_global {
        return Ok(());
    }
    let message = format!("{function} does not support the \"global\" option");
    let error = Error::new(Sqlstate::InvalidParameterValue, message);
    Err(match hint {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

fn parameter(name: &str, value: i64) -> Error {
    Error::new(Sqlstate::InvalidParameterValue, format!("invalid value for parameter \"{name}\": {value}"))
}

/// What `regexp_match` gives of a match: its groups, or all of it if there are none.
fn captured(text: &str, found: &Match) -> Vec<Option<String>> {
    if found.groups.is_empty() {
        return vec![text.get(found.start..found.end).map(str::to_owned)];
    }
    let of = |place: &Option<(usize, usize)>| place.and_then(|(start, end)| text.get(start..end)).map(str::to_owned);
    found.groups.iter().map(of).collect()
}

/// Where the character of a number, from 1, begins: one after the last too.
fn place_of(text: &str, number: i64) -> Option<usize> {
    let number = usize::try_from(number).ok()?.checked_sub(1)?;
    let at = text.char_indices().nth(number).map_or(text.len(), |(at, _)| at);
    Some(at)
}

/// The place of the `n`th match from a start, or of a group of it; where those three are among the arguments.
fn nth(
    row: &Row<'_>,
    patterns: &mut Patterns,
    (text, pattern, flags): (&str, &str, &str),
    [start, number, group]: [usize; 3],
) -> Result<Option<(usize, usize)>> {
    let given = |i: usize, default: i64| row.whole(i).unwrap_or(default);
    let (start, number, group) = (given(start, 1), given(number, 1), given(group, 0));
    let from = place_of(text, start).ok_or_else(|| parameter("start", start))?;
    let wanted = usize::try_from(number - 1).map_err(|_| parameter("n", number))?;
    let group = usize::try_from(group).map_err(|_| parameter("subexpr", group))?;
    let (pattern, steps) = patterns.of(pattern, flags)?;
    let found = pattern.all(text, from, steps)?.into_iter().nth(wanted);
    Ok(found.and_then(|found| match group.checked_sub(1) {
        None => Some((found.start, found.end)),
        Some(group) => found.groups.get(group).copied().flatten(),
    }))
}

/// What stands for a match: `\\1` to `\\9` are groups, `\\&` is all of it.
fn replacement(out: &mut String, text: &str, with: &str, found: &Match) {
    let mut chars = with.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let place = match chars.next() {
            Some('&') => Some((found.start, found.end)),
            Some(digit @ '1'..='9') => {
                let group = digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok()).unwrap_or(1);
                found.groups.get(group - 1).copied().flatten()
            }
            Some('\\') | None => {
                out.push('\\');
                None
            }
            Some(other) => {
                out.extend(['\\', other]);
                None
            }
        };
        out.push_str(place.and_then(|(start, end)| text.get(start..end)).unwrap_or_default());
    }
}
