//! What functions with effects do.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use chrono::Utc;
use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;

use super::parameters::Parameter;
use super::query::memory_rows;
use super::stream::Stop;
use super::told::{Told, arrow_of_parameter};
use super::{Answer, Session};
use crate::auth::api_keys::{self, ApiKey, MAX_KEY_SECONDS, Scope};
use crate::auth::tokens::MAX_TOKEN_SECONDS;
use crate::error::{Error, Result, Sqlstate};
use crate::federation::invite::{INVITE_SECONDS, MAX_INVITE_SECONDS};
use crate::node::Node;
use crate::pg_catalog::datetimes;
use crate::principal::BuiltinRole;
use crate::statement::steward::{self, Called};
use crate::statement::{Act, Argument, Procedure};

/// How long a key is valid if nothing is said.
const KEY_SECONDS: i64 = 90 * 24 * 60 * 60;
/// The longest name of a key, in characters.
const MAX_NAME_CHARS: usize = 63;

/// Its answer's one column.
pub(super) fn schema(act: &Act) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(&act.column, act.procedure.answers(), true)]))
}

/// Its parameters: texts, unless the client says otherwise.
pub(super) fn parameters(act: &Act, told: &Told) -> Vec<Parameter> {
    (0..act.parameters())
        .map(|number| {
            let of = told.get(number).copied().flatten();
            let told = of.and_then(|of| Some(Parameter { data_type: arrow_of_parameter(of)?, pg_type: of }));
            told.unwrap_or_else(|| DataType::Utf8.into())
        })
        .collect()
}

/// The arguments of a call, with its parameters' values.
struct Given<'a> {
    act: &'a Act,
    values: &'a [ScalarValue],
}

impl Given<'_> {
    /// An argument by its name; `None` if it was not given, or NULL.
    fn value(&self, name: &str) -> Result<Option<ScalarValue>> {
        let (names, _) = self.act.procedure.arguments();
        let position = names.iter().position(|known| *known == name).ok_or_else(|| Error::internal("no argument"))?;
        Ok(match self.act.arguments.get(position).and_then(Option::as_ref) {
            None | Some(Argument::Constant(None)) => None,
            Some(Argument::Constant(Some(text))) => Some(ScalarValue::Utf8(Some(text.clone()))),
            Some(Argument::Parameter(number)) => {
                let value = self.values.get(*number).ok_or_else(|| Error::internal("a parameter has no value"))?;
                Some(value.clone()).filter(|value| !value.is_null())
            }
        })
    }

    fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        match value.cast_to(&DataType::Utf8) {
            Ok(ScalarValue::Utf8(text)) => Ok(text),
            _ => Err(Error::new(Sqlstate::InvalidParameterValue, format!("argument \"{name}\" must be a text"))),
        }
    }

    /// What it calls, if that is what stewards do.
    fn called(&self) -> Result<Option<Called>> {
        let text = |name: &str| required(self.text(name)?, name);
        Ok(Some(match self.act.procedure {
            Procedure::ExcludeUnit => Called::Exclude { kind: text("kind")?, unit: text("unit")?, excluded: true },
            Procedure::IncludeUnit => Called::Exclude { kind: text("kind")?, unit: text("unit")?, excluded: false },
            Procedure::WriteOff => Called::WriteOff,
            Procedure::ApproveChange => Called::Approve { change: text("change")? },
            Procedure::RejectChange => Called::Reject { change: text("change")? },
            _ => return Ok(None),
        }))
    }

    /// A span of time, in seconds, from one second to the most.
    fn seconds(&self, name: &str, most: i64) -> Result<Option<i64>> {
        let wanted = DataType::Interval(IntervalUnit::MonthDayNano);
        let value = match self.value(name)? {
            None => return Ok(None),
            Some(ScalarValue::Utf8(Some(text))) => datetimes::constant(&text, &wanted)?,
            Some(value) => value.cast_to(&wanted)?,
        };
        let ScalarValue::IntervalMonthDayNano(Some(span)) = value else {
            return Err(Error::new(
                Sqlstate::InvalidParameterValue,
                format!("argument \"{name}\" must be an interval"),
            ));
        };
        // As PostgreSQL counts them: months of 30 days, days of 24 hours.
        let days = i64::from(span.months) * 30 + i64::from(span.days);
        let seconds = days.saturating_mul(86_400).saturating_add(span.nanoseconds / 1_000_000_000);
        if (1..=most).contains(&seconds) {
            return Ok(Some(seconds));
        }
        let longest = if most >= 86_400 { format!("{} days", most / 86_400) } else { format!("{most} seconds") };
        Err(Error::new(
            Sqlstate::InvalidParameterValue,
            format!("argument \"{name}\" must be from one second to {longest}"),
        ))
    }
}

impl Session {
    /// Does what a function with effects does.
    pub(super) async fn act(&self, act: &Act, values: &[ScalarValue], stop: &Stop) -> Result<Answer> {
        let given = Given { act, values };
        let mut notices = Vec::new();
        let answer: ArrayRef = match act.procedure {
            Procedure::CreateApiKey => Arc::new(StringArray::from(vec![self.create_api_key(&given).await?])),
            Procedure::RevokeApiKey => {
                let name = required(given.text("name")?, "name")?;
                self.node.store.remove_api_key(&self.role_of(&given)?, &name).await?;
                Arc::new(BooleanArray::from(vec![true]))
            }
            Procedure::CreateToken => Arc::new(StringArray::from(vec![self.create_token(&given).await?])),
            Procedure::RevokeTokens => {
                self.node.store.revoke_tokens(&self.role_of(&given)?, Utc::now().timestamp()).await?;
                Arc::new(BooleanArray::from(vec![true]))
            }
            Procedure::ExcludeUnit
            | Procedure::IncludeUnit
            | Procedure::WriteOff
            | Procedure::ApproveChange
            | Procedure::RejectChange => {
                let called = given.called()?.ok_or_else(|| Error::internal("stewards do other things"))?;
                let done = steward::call(&self.node, &self.principal(), called).await?;
                if done.waits {
                    stop.trail.waits();
                }
                notices = done.notices;
                Arc::new(BooleanArray::from(vec![!done.waits]))
            }
            Procedure::InviteNode => {
                let seconds = given.seconds("valid_for", MAX_INVITE_SECONDS)?.unwrap_or(INVITE_SECONDS);
                Arc::new(StringArray::from(vec![self.invite_node(seconds).await?]))
            }
            Procedure::AcceptInvite => {
                let invite = required(given.text("invite")?, "invite")?;
                Arc::new(StringArray::from(vec![self.accept_invite(&invite).await?]))
            }
            Procedure::RemoveNode => {
                self.remove_node(&required(given.text("node_id")?, "node_id")?).await?;
                Arc::new(BooleanArray::from(vec![true]))
            }
        };
        let schema = schema(act);
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![answer]).map_err(Error::internal)?;
        let rows = memory_rows(schema, vec![batch])?;
        Ok(Answer { notices, ..Answer::rows(if act.is_call { "CALL" } else { "SELECT" }, rows) })
    }

    /// The role that a key or token is to be of: one's own, or any for an admin.
    fn role_of(&self, given: &Given<'_>) -> Result<String> {
        let principal = self.principal();
        if principal.via_peer.is_some() {
            return Err(Error::new(Sqlstate::InsufficientPrivilege, "keys and tokens are of roles of this node")
                .hint("Ask your own node for one."));
        }
        let role = given.text("role")?.unwrap_or_else(|| principal.name.clone());
        if role != principal.name && !principal.is(BuiltinRole::Admin) {
            return Err(Error::new(Sqlstate::InsufficientPrivilege, "permission denied for keys and tokens of others")
                .hint("Ask an admin of this node."));
        }
        Ok(role)
    }

    /// As [`Session::role_of`], of a role that may log in, for somebody who did so with a password: nothing makes another of itself.
    fn role_for_new(&self, given: &Given<'_>) -> Result<String> {
        let role = self.role_of(given)?;
        self.opened_by.be_by_password("makes no others")?;
        if role != self.opened_by.name {
            steward::refuse_for_another(&self.node, &role, "make keys and tokens")?;
        }
        match self.node.store.directory().all().get(&role) {
            Some(info) if info.login => Ok(role),
            Some(_) => {
                Err(Error::new(Sqlstate::ObjectNotInPrerequisiteState, format!("role \"{role}\" may not log in"))
                    .hint(format!("ALTER ROLE \"{role}\" LOGIN lets it.")))
            }
            None => Err(Error::new(Sqlstate::UndefinedObject, format!("role \"{role}\" does not exist"))),
        }
    }

    async fn create_api_key(&self, given: &Given<'_>) -> Result<String> {
        let name = required(given.text("name")?, "name")?;
        if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
            return Err(Error::new(
                Sqlstate::InvalidName,
                format!("the name of an API key has 1 to {MAX_NAME_CHARS} characters that can be printed"),
            ));
        }
        // Whose it may be is looked at and made in one turn.
        let _one = self.node.changing.lock().await;
        let role = self.role_for_new(given)?;
        let seconds = given.seconds("valid_for", MAX_KEY_SECONDS)?.unwrap_or(KEY_SECONDS);
        let scopes = match given.text("scopes")? {
            Some(text) => Scope::parse_list(&text)?,
            None => Scope::ALL.to_vec(),
        };
        let (id, key) = api_keys::generate()?;
        let now = Utc::now().timestamp();
        let kept = ApiKey {
            id,
            hash: api_keys::hash(&key),
            role,
            name,
            scopes,
            created_by: self.opened_by.name.clone(),
            created_at: now,
            expires_at: now.saturating_add(seconds),
            last_used_at: Arc::new(AtomicI64::new(0)),
        };
        self.node.store.add_api_key(&kept).await?;
        Ok(key)
    }

    async fn create_token(&self, given: &Given<'_>) -> Result<String> {
        let _one = self.node.changing.lock().await;
        let role = self.role_for_new(given)?;
        let authenticator = &self.node.authenticator;
        let default = i64::try_from(authenticator.token_lifetime.as_secs()).unwrap_or(MAX_TOKEN_SECONDS);
        let seconds = given.seconds("valid_for", MAX_TOKEN_SECONDS)?.unwrap_or(default);
        let after = self.node.store.directory().all().get(&role).map_or(0, |info| info.tokens_from);
        authenticator.token_keys.issue(&role, seconds, after)
    }

    /// What a call would change, for the log; nothing if that cannot be told: then it fails.
    pub(super) fn difference_of(&self, act: &Act, values: &[ScalarValue]) -> Option<String> {
        match (Given { act, values }).called().ok()?? {
            Called::Approve { change } | Called::Reject { change } => {
                let change = steward::pending(&self.node, &change).ok()?;
                // Of a unit that opted out no more than that it did.
                let said = match change.statement.split_once('(') {
                    Some((call, _)) if call.starts_with("SELECT kanon.") => call,
                    _ => &change.statement,
                };
                Some(format!("{said}, proposed by \"{}\": {}", change.proposed_by, change.difference))
            }
            Called::WriteOff | Called::Exclude { .. } => None,
        }
    }

    /// What a call is about, for the log.
    pub(super) fn objects_of(&self, act: &Act, values: &[ScalarValue]) -> Vec<String> {
        let given = Given { act, values };
        let text = |name: &str| given.text(name).ok().flatten();
        let role = || format!("role {}", text("role").unwrap_or_else(|| self.opened_by.name.clone()));
        match act.procedure {
            Procedure::CreateApiKey | Procedure::RevokeApiKey => {
                let name = text("name").map(|name| format!("api key {name}"));
                std::iter::once(role()).chain(name).collect()
            }
            Procedure::CreateToken | Procedure::RevokeTokens => vec![role(), "tokens".to_owned()],
            // Which unit it is stands among the literals.
            Procedure::ExcludeUnit | Procedure::IncludeUnit => {
                text("kind").map(|kind| format!("privacy unit {kind}")).into_iter().collect()
            }
            Procedure::WriteOff | Procedure::InviteNode => vec![format!("node {}", self.node.site())],
            Procedure::AcceptInvite => {
                let key = text("invite").and_then(|invite| Node::inviter_of(&invite));
                vec![key.map_or_else(|| "what is no invite".to_owned(), |key| format!("node sha256:{key}"))]
            }
            Procedure::ApproveChange | Procedure::RejectChange => {
                text("change").map(|change| format!("change {change}")).into_iter().collect()
            }
            Procedure::RemoveNode => text("node_id").map(|id| format!("node {id}")).into_iter().collect(),
        }
    }
}

fn required(value: Option<String>, name: &str) -> Result<String> {
    value.ok_or_else(|| Error::new(Sqlstate::InvalidParameterValue, format!("argument \"{name}\" cannot be NULL")))
}
