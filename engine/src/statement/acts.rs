//! Functions with effects: `SELECT kanon.create_token()`, `CALL kanon.revoke_api_key(name => 'grafana')`.
//!
//! They are statements and no expressions: they run once, by the session, when their statement is executed, and never while it is read, described or explained. So they
//! stand alone: a SELECT of nothing else, or a CALL.

use datafusion::arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, Query,
    SelectItem, SetExpr, Value,
};

use crate::audit::entry::Action;
use crate::error::{Error, Result, Sqlstate};

/// A function with effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Procedure {
    /// A new API key of a role.
    CreateApiKey,
    /// An API key is no longer taken.
    RevokeApiKey,
    /// A new token of a role.
    CreateToken,
    /// The tokens that a role has are no longer taken.
    RevokeTokens,
    /// A unit opts out.
    ExcludeUnit,
    /// It no longer does.
    IncludeUnit,
    /// What a store that was put back cannot know counts as spent.
    WriteOff,
    /// A token with which another node can become a peer.
    InviteNode,
    /// This node becomes a peer of the one that invited it.
    AcceptInvite,
    /// A node is no peer any more.
    RemoveNode,
    /// Another steward's change is made.
    ApproveChange,
    /// It is not.
    RejectChange,
}

impl Procedure {
    /// All of them.
    pub const ALL: [Procedure; 12] = [
        Procedure::CreateApiKey,
        Procedure::RevokeApiKey,
        Procedure::CreateToken,
        Procedure::RevokeTokens,
        Procedure::ExcludeUnit,
        Procedure::IncludeUnit,
        Procedure::WriteOff,
        Procedure::InviteNode,
        Procedure::AcceptInvite,
        Procedure::RemoveNode,
        Procedure::ApproveChange,
        Procedure::RejectChange,
    ];

    /// Its name in schema `kanon`.
    pub fn name(self) -> &'static str {
        match self {
            Procedure::CreateApiKey => "create_api_key",
            Procedure::RevokeApiKey => "revoke_api_key",
            Procedure::CreateToken => "create_token",
            Procedure::RevokeTokens => "revoke_tokens",
            Procedure::ExcludeUnit => "exclude_unit",
            Procedure::IncludeUnit => "include_unit",
            Procedure::WriteOff => "write_off",
            Procedure::InviteNode => "invite_node",
            Procedure::AcceptInvite => "accept_invite",
            Procedure::RemoveNode => "remove_node",
            Procedure::ApproveChange => "approve_change",
            Procedure::RejectChange => "reject_change",
        }
    }

    /// The names of its arguments, and how many of them must be given.
    pub fn arguments(self) -> (&'static [&'static str], usize) {
        match self {
            Procedure::CreateApiKey => (&["name", "role", "valid_for", "scopes"], 1),
            Procedure::RevokeApiKey => (&["name", "role"], 1),
            Procedure::CreateToken => (&["valid_for", "role"], 0),
            Procedure::RevokeTokens => (&["role"], 0),
            Procedure::ExcludeUnit | Procedure::IncludeUnit => (&["kind", "unit"], 2),
            Procedure::WriteOff => (&[], 0),
            Procedure::InviteNode => (&["valid_for"], 0),
            Procedure::AcceptInvite => (&["invite"], 1),
            Procedure::RemoveNode => (&["node_id"], 1),
            Procedure::ApproveChange | Procedure::RejectChange => (&["change"], 1),
        }
    }

    /// The type of its answer.
    pub fn answers(self) -> DataType {
        match self {
            Procedure::CreateApiKey | Procedure::CreateToken | Procedure::InviteNode | Procedure::AcceptInvite => {
                DataType::Utf8
            }
            _ => DataType::Boolean,
        }
    }

    /// What it does, for the audit log.
    pub(crate) fn action(self) -> Action {
        match self {
            Procedure::CreateApiKey | Procedure::RevokeApiKey | Procedure::CreateToken | Procedure::RevokeTokens => {
                Action::Credential
            }
            Procedure::ExcludeUnit
            | Procedure::IncludeUnit
            | Procedure::WriteOff
            | Procedure::ApproveChange
            | Procedure::RejectChange => Action::Policy,
            Procedure::InviteNode | Procedure::AcceptInvite | Procedure::RemoveNode => Action::Peer,
        }
    }

    fn named(name: &str) -> Option<Procedure> {
        Procedure::ALL.into_iter().find(|procedure| procedure.name() == name)
    }
}

/// A call of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Act {
    /// What is done.
    pub procedure: Procedure,
    /// Its arguments, in the order of [`Procedure::arguments`]; `None`: as if it were not said.
    pub arguments: Vec<Option<Argument>>,
    /// What its answer is called.
    pub column: String,
    /// Whether it was a CALL.
    pub is_call: bool,
}

/// An argument of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A text, or what is written as one; `None`: NULL.
    Constant(Option<String>),
    /// `$n`, from 0.
    Parameter(usize),
}

impl Act {
    /// The number of its parameters.
    pub fn parameters(&self) -> usize {
        let last = self.arguments.iter().flatten().map(|argument| match argument {
            Argument::Parameter(number) => number + 1,
            Argument::Constant(_) => 0,
        });
        last.max().unwrap_or(0)
    }

    /// What CALL calls, if it is one of these.
    pub(super) fn of_call(function: &Function) -> Option<Result<Act>> {
        Act::of(function, None, true)
    }

    /// What a SELECT calls that calls one of these and does nothing else.
    pub(super) fn of_query(query: &Query) -> Option<Result<Act>> {
        let SetExpr::Select(select) = &*query.body else { return None };
        let [item] = select.projection.as_slice() else { return None };
        let (function, alias) = match item {
            SelectItem::UnnamedExpr(Expr::Function(function)) => (function, None),
            SelectItem::ExprWithAlias { expr: Expr::Function(function), alias } => (function, Some(name_of(alias))),
            _ => return None,
        };
        let no_groups =
            matches!(&select.group_by, GroupByExpr::Expressions(by, with) if by.is_empty() && with.is_empty());
        let alone = query.with.is_none()
            && query.order_by.is_none()
            && query.limit_clause.is_none()
            && query.fetch.is_none()
            && query.locks.is_empty()
            && select.distinct.is_none()
            && select.from.is_empty()
            && select.selection.is_none()
            && select.having.is_none()
            && select.qualify.is_none()
            && select.named_window.is_empty()
            && no_groups;
        if alone { Act::of(function, alias, false) } else { None }
    }

    fn of(function: &Function, alias: Option<String>, is_call: bool) -> Option<Result<Act>> {
        let parts: Vec<String> = function.name.0.iter().filter_map(|part| part.as_ident().map(name_of)).collect();
        let procedure = match parts.as_slice() {
            [schema, name] if schema == "kanon" => Procedure::named(name)?,
            _ => return None,
        };
        let column = alias.unwrap_or_else(|| procedure.name().to_owned());
        let arguments = match arguments(procedure, function) {
            Ok(arguments) => arguments,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(Act { procedure, arguments, column, is_call }))
    }
}

fn arguments(procedure: Procedure, function: &Function) -> Result<Vec<Option<Argument>>> {
    let (names, needed) = procedure.arguments();
    let plain = function.over.is_none()
        && function.filter.is_none()
        && function.null_treatment.is_none()
        && function.within_group.is_empty();
    let list = match &function.args {
        FunctionArguments::None if plain => &Vec::new(),
        FunctionArguments::List(FunctionArgumentList { args, clauses, duplicate_treatment: None })
            if plain && clauses.is_empty() =>
        {
            args
        }
        _ => return Err(wrong(procedure)),
    };
    let mut found: Vec<Option<Argument>> = vec![None; names.len()];
    let mut by_name = false;
    for (position, given) in list.iter().enumerate() {
        let (position, value) = match given {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) if !by_name => (position, value),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                by_name = true;
                let name = name_of(name);
                (names.iter().position(|known| *known == name).ok_or_else(|| wrong(procedure))?, value)
            }
            _ => return Err(wrong(procedure)),
        };
        let place = found.get_mut(position).filter(|place| place.is_none()).ok_or_else(|| wrong(procedure))?;
        *place = Some(argument(value)?);
    }
    if found.iter().take(needed).any(Option::is_none) {
        return Err(wrong(procedure));
    }
    Ok(found)
}

fn name_of(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn wrong(procedure: Procedure) -> Error {
    let (names, needed) = procedure.arguments();
    let shown: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(i, name)| if i < needed { (*name).to_owned() } else { format!("[{name}]") })
        .collect();
    let name = procedure.name();
    Error::new(Sqlstate::UndefinedFunction, format!("function kanon.{name} does not take these arguments"))
        .hint(format!("Write kanon.{name}({}), or name them: {name}(argument => value).", shown.join(", ")))
}

fn argument(value: &Expr) -> Result<Argument> {
    let not_constant = || {
        Error::unsupported("arguments of functions with effects must be constants or parameters")
            .hint("Bind a parameter, or write a text in quotes.")
    };
    Ok(match value {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => {
                let number = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
                Argument::Parameter(number.and_then(|number| number.checked_sub(1)).ok_or_else(not_constant)?)
            }
            Value::Null => Argument::Constant(None),
            Value::Number(number, _) => Argument::Constant(Some(number.to_string())),
            other => Argument::Constant(Some(other.clone().into_string().ok_or_else(not_constant)?)),
        },
        Expr::Cast { expr, .. } => argument(expr)?,
        Expr::Nested(expr) => argument(expr)?,
        Expr::TypedString(typed) => {
            Argument::Constant(Some(typed.value.value.clone().into_string().ok_or_else(not_constant)?))
        }
        Expr::Interval(interval) => argument(&interval.value)?,
        _ => return Err(not_constant()),
    })
}
