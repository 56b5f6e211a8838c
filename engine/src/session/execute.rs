//! What each kind of statement does in a session.

use std::mem;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, Expr};

use super::accuracy::Intervals;
use super::acts;
use super::alike::Outline;
use super::backends::Kept;
use super::cursor::no_cursor;
use super::generic::{values_are_read_alike, with_values};
use super::kept::{Executable, KeptPlan, KeptPlans};
use super::parameters::{Parameter, Parameters, bound};
use super::query::{Planned, all_are_open, text_rows, text_table};
use super::settings;
use super::stream::Stop;
use super::told::{Told, arrow_of_parameter};
use super::transaction::Begun;
use super::{Answer, MAX_PREPARED, MAX_PREPARED_MIB, Notice, Prepared, Rows, Session, TransactionStatus, no_prepared};
use crate::error::{Error, Result, Sqlstate};
use crate::pg_catalog::datetimes;
use crate::pg_catalog::types::PgType;
use crate::principal::Credential;
use crate::statement::{
    Discard, Explain, ExplainFormat, Set, Settings, Statement, StewardStatement, Transaction, steward,
};

/// The columns and parameters of a statement.
#[derive(Default)]
pub(super) struct Described {
    /// `None` for statements without rows.
    pub(super) schema: Option<SchemaRef>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) plan: KeptPlan,
    pub(super) fails: Option<Error>,
}

impl Described {
    fn rows(schema: SchemaRef) -> Described {
        Described { schema: Some(schema), ..Described::default() }
    }
}

impl Session {
    /// The columns and parameters of a statement.
    pub(super) async fn describe(&self, text: &str, statement: &Statement, types: Told) -> Result<Described> {
        let query = match statement {
            Statement::Query(query) => query,
            Statement::Declare(declare) => {
                let (_, parameters) = self.plan(&declare.query, Parameters::Types(types)).await?;
                return Ok(Described { parameters, ..Described::default() });
            }
            Statement::Copy(copy) => {
                let (_, parameters) = self.plan(&copy.query, Parameters::Types(types)).await?;
                return Ok(Described { parameters, ..Described::default() });
            }
            Statement::Explain(_) => return Ok(Described::rows(text_rows("QUERY PLAN", vec![])?.schema)),
            Statement::Show(Settings::One(name)) => {
                let setting = settings::find(name).ok_or_else(|| {
                    Error::new(Sqlstate::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))
                })?;
                return Ok(Described::rows(text_rows(setting.name, vec![])?.schema));
            }
            Statement::Show(Settings::All) => return Ok(Described::rows(self.show_all()?.schema)),
            Statement::Fetch(fetch) if !fetch.only_move => {
                return Ok(Described::rows(Arc::clone(&self.cursor(&fetch.cursor)?.schema)));
            }
            Statement::Execute { name, .. } => {
                let prepared = self.prepared(name)?;
                return Ok(Described { schema: prepared.schema.clone(), ..Described::default() });
            }
            Statement::Refused(error) => return Err(error.clone()),
            Statement::Act(act) => {
                let parameters = acts::parameters(act, &types);
                return Ok(Described { parameters, ..Described::rows(acts::schema(act)) });
            }
            Statement::Temporary(temporary) => return self.describe_temporary(temporary, types).await,
            Statement::Empty
            | Statement::Set(_)
            | Statement::Reset(_)
            | Statement::Transaction(_)
            | Statement::Prepare(_)
            | Statement::Deallocate(_)
            | Statement::Fetch(_)
            | Statement::Close(_)
            | Statement::Discard(_)
            | Statement::Listen
            | Statement::Unlisten
            | Statement::Call(_)
            | Statement::Steward(_) => return Ok(Described::default()),
        };
        let (mut planned, parameters) = self.plan(query, Parameters::Types(types)).await?;
        let schema = Some(self.columns(&mut planned, &Intervals::AsSet).await?);
        let fails = planned.fails.clone();
        let plan = KeptPlan::of(text);
        if parameters.is_empty() && fails.is_none() {
            plan.keep(self, &planned);
        }
        self.node.states.give_back(planned.state);
        Ok(Described { schema, parameters, plan, fails })
    }

    pub(super) async fn run(
        self: &Arc<Self>,
        prepared: &Prepared,
        parameters: Parameters,
        stop: &Stop,
    ) -> Result<Answer> {
        let statement = &*prepared.statement;
        if !matches!(
            statement,
            Statement::Empty
                | Statement::Transaction(
                    Transaction::Commit { .. } | Transaction::Rollback { .. } | Transaction::RollbackTo(_)
                )
        ) {
            let mut state = self.state();
            state.transaction.check()?;
            if statement.is_query() {
                state.transaction.query();
            }
        }
        let tag = statement.tag();
        match statement {
            Statement::Empty => Ok(Answer::done("")),
            Statement::Refused(error) => Err(error.clone()),
            Statement::Query(query) => {
                if let Some(answer) = self.run_ready(prepared, parameters.values(), stop)? {
                    return Ok(answer);
                }
                if let Some(alike) = &prepared.alike {
                    if alike.as_written.get().is_none() {
                        let text = prepared.text.clone();
                        let written = self.prepare_anew(text, Told::default(), Outline::of(&prepared.text));
                        let _ = alike.as_written.set(Box::pin(written).await?);
                    }
                    if let Some(written) = alike.as_written.get() {
                        return Box::pin(self.run(written, parameters, stop)).await;
                    }
                }
                let planned = self.planned_again(query, prepared, parameters).await?;
                self.answer_query(tag, planned, &Intervals::of(prepared), stop).await
            }
            Statement::Copy(copy) => {
                let (planned, _) = self.plan(&copy.query, parameters).await?;
                self.answer_query(tag, planned, &Intervals::AsSet, stop).await
            }
            Statement::Explain(explain) => self.run_explain(explain, parameters).await,
            Statement::Set(set) => self.run_set(set),
            Statement::Show(Settings::All) => Ok(Answer::rows(tag, self.show_all()?)),
            Statement::Show(Settings::One(name)) => self.run_show(name),
            Statement::Reset(which) => self.run_reset(which),
            Statement::Transaction(transaction) => self.run_transaction(tag, transaction),
            Statement::Prepare(prepare) => {
                let types = prepare.types.iter().map(|of| told_type(of).map(Some)).collect::<Result<Told>>()?;
                if self.is_kept(&prepare.name) {
                    return Err(Error::new(
                        Sqlstate::DuplicatePreparedStatement,
                        format!("prepared statement \"{}\" already exists", prepare.name),
                    ));
                }
                let inner = Box::pin(self.prepare_inner(prepare.text.clone(), types)).await?;
                let mut state = self.state();
                if state.prepared.values().filter(|kept| kept.from_sql).count() >= MAX_PREPARED {
                    return Err(Error::new(
                        Sqlstate::StatementTooComplex,
                        format!("a session may keep {MAX_PREPARED} prepared statements"),
                    )
                    .hint("DEALLOCATE those that are no longer needed."));
                }
                let held: usize = state.prepared.values().map(|kept| kept.prepared.text.len()).sum();
                if held + inner.text.len() > MAX_PREPARED_MIB << 20 {
                    return Err(Error::new(
                        Sqlstate::StatementTooComplex,
                        format!("a session may keep {MAX_PREPARED_MIB} MiB of prepared statements"),
                    )
                    .hint("DEALLOCATE those that are no longer needed."));
                }
                state.prepared.insert(prepare.name.clone(), Kept::from_sql(inner, prepared.text.clone()));
                Ok(Answer::done(tag))
            }
            Statement::Execute { name, arguments } => {
                let inner = self.prepared(name)?;
                if matches!(*inner.statement, Statement::Act(_)) {
                    return Err(Error::unsupported("functions with effects cannot be run by EXECUTE")
                        .hint("Call them directly; drivers can bind parameters to the call."));
                }
                let values = constants(name, arguments, &inner.parameters)?;
                inner.count_run();
                let values = Parameters::Values(values, Told::clone(&inner.told));
                Box::pin(self.run(&inner, values, stop)).await
            }
            Statement::Deallocate(Some(name)) => {
                self.state().prepared.remove(name).ok_or_else(|| no_prepared(name))?;
                Ok(Answer::done(tag))
            }
            Statement::Deallocate(None) => {
                self.state().prepared.clear();
                Ok(Answer::done(tag))
            }
            Statement::Declare(declare) => self.run_declare(&prepared.text, declare, parameters, stop).await,
            Statement::Fetch(fetch) => self.run_fetch(fetch).await,
            Statement::Close(Some(name)) => match self.state().cursors.remove(name) {
                Some(_) => Ok(Answer::done(tag)),
                None => Err(no_cursor(name)),
            },
            Statement::Close(None) => {
                self.state().cursors.clear();
                Ok(Answer::done(tag))
            }
            Statement::Discard(what) => self.run_discard(tag, *what),
            // Nobody notifies, so there is nothing to remember.
            Statement::Listen | Statement::Unlisten => Ok(Answer::done(tag)),
            Statement::Act(act) => Ok(self.says_that_it_stays(self.act(act, parameters.values(), stop).await?)),
            Statement::Call(function) => {
                Err(Error::new(Sqlstate::UndefinedFunction, format!("procedure {} does not exist", function.name)))
            }
            Statement::Temporary(temporary) => self.run_temporary(temporary, parameters, stop).await,
            Statement::Steward(StewardStatement::DropTable { if_exists, names }) => {
                self.drop_tables(*if_exists, names).await
            }
            Statement::Steward(statement) => {
                self.refuse_for_temporary(statement)?;
                let done = steward::run(&self.node, &self.principal(), statement.clone()).await?;
                if done.waits {
                    stop.trail.waits();
                }
                self.goes_on_with_its_password(statement);
                Ok(self.says_that_it_stays(Answer { notices: done.notices, ..Answer::done(tag) }))
            }
        }
    }

    /// Runs a query whose plan only has to be executed; `None` if it is none.
    pub(super) fn run_ready(
        self: &Arc<Self>,
        prepared: &Prepared,
        values: &[ScalarValue],
        stop: &Stop,
    ) -> Result<Option<Answer>> {
        let (kept, values) = match &prepared.alike {
            Some(alike) => (&alike.plan, &*alike.values),
            None => (&prepared.plan, values),
        };
        let Some(Executable { context, plan, schema, lent }) = kept.executable(self, values, stop)? else {
            return Ok(None);
        };
        {
            let mut state = self.state();
            state.transaction.check()?;
            state.transaction.query();
        }
        let rows = self.execute_plan(plan, context.task(self), schema, stop, lent)?;
        Ok(Some(Answer::rows(prepared.statement.tag(), rows)))
    }

    /// The plan of a query that was prepared: the one that is kept, or a new one.
    async fn planned_again(&self, query: &ast::Query, prepared: &Prepared, parameters: Parameters) -> Result<Planned> {
        let kept = prepared.plan.take(self)?;
        if prepared.parameters.is_empty() {
            if let Some(kept) = kept {
                return Ok(kept);
            }
            let (mut planned, _) = self.plan(query, parameters).await?;
            if planned.fails.is_none() {
                planned.kept = prepared.plan.clone();
                planned.kept.keep(self, &planned);
            }
            return Ok(planned);
        }
        let Parameters::Values(values, told) = parameters else { return Ok(self.plan(query, parameters).await?.0) };
        let types: Vec<DataType> = prepared.parameters.iter().map(|of| of.data_type.clone()).collect();
        let are_of_types = values.len() == types.len() && values.iter().zip(&types).all(|(v, t)| v.data_type() == *t);
        if let Some(kept) = kept.filter(|_| are_of_types) {
            let plan = with_values(kept.plan.clone(), &bound(values, &told))?;
            if kept.ready.is_none() {
                // If it cannot be made, this run's can.
                let _ = self.make_executable(&kept, types).await;
            }
            return Ok(Planned { plan, ready: None, ..kept });
        }
        let (planned, _) = self.plan(query, Parameters::Values(values.clone(), Told::clone(&told))).await?;
        if are_of_types
            && prepared.plan.is_planned_again()
            && all_are_open(&planned.plan)?
            // A statement that cannot be planned without its values is planned for them each time.
            && let Ok((open, _)) = self.plan(query, Parameters::Open(types.clone(), Told::clone(&told))).await
            && values_are_read_alike(&open.plan, &types)?
            && with_values(open.plan.clone(), &bound(values, &told)).is_ok_and(|plan| plan == planned.plan)
        {
            prepared.plan.keep(self, &open);
        }
        Ok(planned)
    }

    pub(super) async fn answer_query(
        self: &Arc<Self>,
        tag: &str,
        planned: Planned,
        intervals: &Intervals,
        stop: &Stop,
    ) -> Result<Answer> {
        let (rows, report) = self.run_query(planned, intervals, stop).await?;
        let mut answer = Answer::rows(tag, rows);
        if let Some(report) = report {
            answer.notices.extend(report.notice().map(Notice::new));
            self.state().last_query.set(Some(Arc::clone(&report)));
            answer.report = Some(report);
        }
        Ok(answer)
    }

    async fn run_explain(&self, explain: &Explain, parameters: Parameters) -> Result<Answer> {
        if explain.analyze {
            return Err(Error::unsupported("EXPLAIN ANALYZE is not supported: it would count rows that may not leave")
                .hint("Use EXPLAIN, or EXPLAIN (PRIVACY) to see what would leave."));
        }
        if explain.format == ExplainFormat::Json {
            return Err(Error::unsupported("EXPLAIN (FORMAT JSON) is not supported").hint("Use EXPLAIN."));
        }
        Ok(Answer::rows("EXPLAIN", self.explain(&explain.query, parameters, explain.privacy).await?))
    }

    /// Changes of the node are made at once: no transaction takes them back.
    fn says_that_it_stays(&self, answer: Answer) -> Answer {
        match self.transaction_status() {
            TransactionStatus::Idle => answer,
            _ => answer.warning(
                Sqlstate::ActiveTransaction,
                "this was made at once: it stays, whatever becomes of the transaction",
            ),
        }
    }

    /// A session that sets its role's password does not end with the old one.
    fn goes_on_with_its_password(&self, statement: &StewardStatement) {
        if let StewardStatement::AlterRole { name, password: Some(_), .. } = statement
            && let Some(Credential::Password(mark)) = &self.opened_by.credential
            && *name == self.opened_by.name
            && let Some(role) = self.node.store.directory().all().get(name)
        {
            mark.renew(role.password_set_at);
        }
    }

    fn run_set(&self, set: &Set) -> Result<Answer> {
        let mut state = self.state();
        if set.local && !state.transaction.is_open() {
            // Checked, and then forgotten at once: its transaction is this statement.
            if let Some(values) = &set.value {
                state.settings.clone().set(&set.name, &values.join(", "), true)?;
            }
            let message = "SET LOCAL can only be used in transaction blocks";
            return Ok(Answer::done("SET").warning(Sqlstate::NoActiveTransaction, message));
        }
        let told = match &set.value {
            Some(values) => state.set(&set.name, &values.join(", "), set.local)?,
            None => state.settings.reset(&set.name)?,
        };
        Ok(Answer { parameter_status: told.into_iter().collect(), ..Answer::done("SET") })
    }

    fn run_show(&self, name: &str) -> Result<Answer> {
        let value = self.state().settings.get(name).ok_or_else(|| {
            Error::new(Sqlstate::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))
        })?;
        let shown = settings::find(name).map_or(name, |s| s.name);
        Ok(Answer::rows("SHOW", text_rows(shown, vec![value])?))
    }

    fn show_all(&self) -> Result<Rows> {
        let all = self.state().settings.all();
        let column = |f: fn(&(&'static str, String, &'static str)) -> String| all.iter().map(|s| Some(f(s))).collect();
        text_table(
            &["name", "setting", "description"],
            vec![column(|s| s.0.to_owned()), column(|s| s.1.clone()), column(|s| s.2.to_owned())],
        )
    }

    fn run_reset(&self, which: &Settings) -> Result<Answer> {
        let mut state = self.state();
        let told = match which {
            Settings::One(name) => state.settings.reset(name)?.into_iter().collect(),
            Settings::All => state.settings.reset_all(),
        };
        Ok(Answer { parameter_status: told, ..Answer::done("RESET") })
    }

    fn run_transaction(&self, tag: &str, transaction: &Transaction) -> Result<Answer> {
        let mut state = self.state();
        let answer = Answer::done(tag);
        match transaction {
            Transaction::Begin { modes, .. } => {
                match state.transaction.begin() {
                    Begun::Already => {
                        state.set_modes(modes)?;
                        let message = "there is already a transaction in progress";
                        return Ok(answer.warning(Sqlstate::ActiveTransaction, message));
                    }
                    Begun::Anew => {
                        state.settings.begin();
                        state.temporary.begin();
                    }
                    Begun::GoesOn => {}
                }
                state.set_modes(modes)?;
                Ok(answer)
            }
            Transaction::Commit { chain } | Transaction::Rollback { chain } => {
                let commit = matches!(transaction, Transaction::Commit { .. });
                if *chain && state.transaction.status() == TransactionStatus::Idle {
                    let message = format!("{tag} AND CHAIN can only be used in transaction blocks");
                    return Err(Error::new(Sqlstate::NoActiveTransaction, message));
                }
                let implicit = state.transaction.is_implicit();
                let warned = |answer: Answer| match implicit {
                    true => answer.warning(Sqlstate::NoActiveTransaction, "there is no transaction in progress"),
                    false => answer,
                };
                let Some(committed) = state.transaction.end(commit) else {
                    let message = "there is no transaction in progress";
                    return Ok(answer.warning(Sqlstate::NoActiveTransaction, message));
                };
                let said = state.settings.of_transaction();
                let told = state.settings.end(committed);
                state.cursors.retain(|_, cursor| cursor.outlives(committed));
                state.temporary.end(committed)?;
                if *chain {
                    state.transaction.begin();
                    state.settings.begin();
                    state.temporary.begin();
                    for (name, value) in said {
                        state.settings.set(name, &value, true)?;
                    }
                }
                let tag = if committed { "COMMIT" } else { "ROLLBACK" };
                Ok(warned(Answer { parameter_status: told, ..Answer::done(tag) }))
            }
            Transaction::Savepoint(name) => {
                state.transaction.savepoint(name)?;
                state.temporary.savepoint();
                state.settings.savepoint();
                Ok(answer)
            }
            Transaction::Release(name) => {
                state.transaction.release(name)?;
                let left = state.transaction.savepoints();
                state.temporary.release(left);
                state.settings.release(left);
                state.cursors.values().for_each(|cursor| cursor.released(left));
                Ok(answer)
            }
            Transaction::RollbackTo(name) => {
                state.transaction.rollback_to(name)?;
                let left = state.transaction.savepoints();
                state.temporary.rollback_to(left);
                state.cursors.retain(|_, cursor| cursor.outlives_rollback_to(left));
                Ok(Answer { parameter_status: state.settings.rollback_to(left), ..answer })
            }
            Transaction::Set { modes, session: true } => {
                Ok(Answer { parameter_status: state.set_default_modes(modes)?, ..answer })
            }
            Transaction::Set { modes, session: false } => {
                state.set_modes(modes)?;
                if state.transaction.status() == TransactionStatus::Idle {
                    let message = "SET TRANSACTION can only be used in transaction blocks";
                    return Ok(answer.warning(Sqlstate::NoActiveTransaction, message));
                }
                Ok(answer)
            }
        }
    }

    fn run_discard(&self, tag: &str, what: Discard) -> Result<Answer> {
        let mut state = self.state();
        let (mut told, mut plans) = (Vec::new(), KeptPlans::default());
        match what {
            Discard::All => {
                if state.transaction.is_open() {
                    return Err(Error::new(
                        Sqlstate::ActiveTransaction,
                        "DISCARD ALL cannot run inside a transaction block",
                    ));
                }
                told = state.settings.reset_all();
                state.prepared.clear();
                state.cursors.clear();
                state.temporary.discard();
                plans = mem::take(&mut state.kept);
            }
            Discard::Temp => state.temporary.discard(),
            Discard::Plans => plans = mem::take(&mut state.kept),
            Discard::Sequences => {}
        }
        drop(state);
        plans.forget();
        Ok(Answer { parameter_status: told, ..Answer::done(tag) })
    }

    fn prepared(&self, name: &str) -> Result<Arc<Prepared>> {
        let kept = self.state().prepared.get(name).map(|kept| Arc::clone(&kept.prepared));
        kept.ok_or_else(|| no_prepared(name))
    }
}

/// The type of a parameter by its name in SQL, whatever its modifiers.
fn told_type(data_type: &ast::DataType) -> Result<PgType> {
    let known = PgType::by_sql_name(&data_type.to_string()).filter(|of| arrow_of_parameter(*of).is_some());
    known.ok_or_else(|| Error::new(Sqlstate::UndefinedObject, format!("type \"{data_type}\" does not exist")))
}

/// The values of EXECUTE's arguments: constants, cast to the types of the parameters.
fn constants(name: &str, arguments: &[Expr], types: &[Parameter]) -> Result<Vec<ScalarValue>> {
    if arguments.len() != types.len() {
        let message = format!("wrong number of parameters for prepared statement \"{name}\"");
        return Err(Error::new(Sqlstate::SyntaxError, message).detail(format!(
            "Expected {} parameters but got {}.",
            types.len(),
            arguments.len()
        )));
    }
    arguments.iter().zip(types).map(|(argument, of)| constant(argument, &of.data_type)).collect()
}

fn constant(argument: &Expr, data_type: &DataType) -> Result<ScalarValue> {
    let text = match argument {
        Expr::Value(value) => match &value.value {
            ast::Value::Null => return Ok(ScalarValue::try_from(data_type)?),
            ast::Value::Boolean(b) => b.to_string(),
            ast::Value::Number(number, _) => number.to_string(),
            other => match other.clone().into_string() {
                Some(text) => text,
                None => return Err(not_constant()),
            },
        },
        Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => match &**expr {
            Expr::Value(value) => match &value.value {
                ast::Value::Number(number, _) => format!("-{number}"),
                _ => return Err(not_constant()),
            },
            _ => return Err(not_constant()),
        },
        Expr::Cast { expr, .. } => return constant(expr, data_type),
        Expr::TypedString(typed) => match typed.value.value.clone().into_string() {
            Some(text) => text,
            None => return Err(not_constant()),
        },
        _ => return Err(not_constant()),
    };
    datetimes::constant(&text, data_type)
}

fn not_constant() -> Error {
    Error::unsupported("arguments of EXECUTE must be constants")
}
