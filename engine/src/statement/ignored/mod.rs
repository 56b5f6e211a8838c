//! What the parser reads and the planner then ignores or misreads is refused by name, in every subquery.
//!
//! Read against datafusion-sql 55: `query_to_plan`, `select_to_plan`, `create_relation`, `sql_function_to_expr`, `recursive_cte`
//! and the conversion of types. A field of the tree that is not in a pattern there must be refused here. The patterns below are
//! without `..`, so that a new field is seen when the library changes.

mod functions;
mod rewrite;

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::execution::FunctionRegistry;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Distinct, Expr, Function, FunctionArg, FunctionArguments, GroupByExpr, Join,
    JoinConstraint, JoinOperator, LimitClause, NamedWindowDefinition, NamedWindowExpr, ObjectName, OrderByKind, Query,
    Select, SelectFlavor, SelectItem, SetExpr, SetOperator, SetQuantifier, TableAlias, TableFactor, Visit, VisitMut,
    Visitor, WindowType,
};

use self::functions::CheckFunctions;
use self::rewrite::Rewrite;
use super::{bounds, front};
use crate::error::{Error, Result, Sqlstate};

/// Rewrites what can be said in a way that the planner knows, and refuses what it would ignore, but for
/// [`refuse_ignored`]'s part.
pub(super) fn prepare(query: &mut Query) -> Result<()> {
    if let ControlFlow::Break(error) = VisitMut::visit(query, &mut Rewrite) {
        return Err(error);
    }
    let mut check = Check::default();
    match Visit::visit(query, &mut check) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Refuses what would be ignored if the planner saw the tree as it is now. To be called after every rewrite of the tree, with the
/// functions that the query will be planned with: WITH ORDINALITY, and DISTINCT, FILTER, ORDER BY or OVER at a scalar function.
///
/// # Errors
/// 0A000 that names it.
pub fn refuse_ignored(query: &Query, functions: &dyn FunctionRegistry) -> Result<()> {
    let mut check = CheckFunctions { functions };
    match Visit::visit(query, &mut check) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn unsupported(what: &str) -> ControlFlow<Error> {
    ControlFlow::Break(Error::unsupported(format!("{what} is not supported")))
}

fn read_only(tag: &str) -> ControlFlow<Error> {
    ControlFlow::Break(front::read_only(tag))
}

/// Refuses with the first name whose condition holds.
fn refuse(conditions: &[(bool, &str)]) -> ControlFlow<Error> {
    match conditions.iter().find(|(holds, _)| *holds) {
        Some((_, what)) => unsupported(what),
        None => ControlFlow::Continue(()),
    }
}

/// Checks queries, selects, tables and expressions, and counts the tables that are read once WITH queries are written out.
#[derive(Default)]
struct Check {
    scopes: Vec<Scope>,
}

/// One query's WITH queries and what it reads.
#[derive(Default)]
struct Scope {
    /// WITH queries by name, with the tables they read.
    known: HashMap<String, u64>,
    /// WITH queries to come, by where they are.
    expected: HashMap<*const Query, String>,
    tables: u64,
    /// WITH queries that were read but never used still are planned.
    planned: u64,
}

impl Check {
    fn leave(&mut self, query: &Query) -> ControlFlow<Error> {
        let Some(done) = self.scopes.pop() else { return ControlFlow::Continue(()) };
        let tables = done.tables.saturating_add(done.planned);
        if tables > bounds::MAX_EXPANDED_TABLES {
            let what = "tables once its WITH queries are written out";
            return ControlFlow::Break(bounds::beyond(bounds::MAX_EXPANDED_TABLES, what));
        }
        if let Some(outer) = self.scopes.last_mut() {
            match outer.expected.remove(&std::ptr::from_ref(query)) {
                Some(name) => {
                    outer.known.insert(name, tables);
                    outer.planned = outer.planned.saturating_add(tables);
                }
                None => outer.tables = outer.tables.saturating_add(tables),
            }
        }
        ControlFlow::Continue(())
    }
}

impl Visitor for Check {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let mut scope = Scope::default();
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                scope.expected.insert(std::ptr::from_ref(cte.query.as_ref()), cte.alias.name.value.to_lowercase());
            }
        }
        self.scopes.push(scope);
        check_query(query)
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        self.leave(query)
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Error> {
        let name = match relation.0.as_slice() {
            [only] => only.as_ident().map(|i| i.value.to_lowercase()),
            _ => None,
        };
        let tables =
            name.and_then(|name| self.scopes.iter().rev().find_map(|s| s.known.get(&name).copied())).unwrap_or(1);
        if let Some(scope) = self.scopes.last_mut() {
            scope.tables = scope.tables.saturating_add(tables);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        check_select(select)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        check_table(factor)
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        check_expr(expr)
    }
}

/// Counts calls with OVER of a window's name, outside of subqueries.
#[derive(Default)]
struct NamedWindows {
    found: usize,
    depth: usize,
}

impl Visitor for NamedWindows {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth = self.depth.saturating_sub(1);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(Function { over: Some(WindowType::NamedWindow(_)), .. }) = expr
            && self.depth == 0
        {
            self.found += 1;
        }
        ControlFlow::Continue(())
    }
}

fn check_query(query: &Query) -> ControlFlow<Error> {
    let Query { with, body, order_by, limit_clause, fetch, locks, for_clause, settings, format_clause, pipe_operators } =
        query;
    if let Some(lock) = locks.first() {
        return unsupported(&format!("FOR {}", lock.lock_type));
    }
    refuse(&[
        (fetch.is_some(), "FETCH"),
        (for_clause.is_some(), "FOR XML or JSON"),
        (settings.is_some(), "SETTINGS"),
        (format_clause.is_some(), "FORMAT"),
        (!pipe_operators.is_empty(), "|>"),
    ])?;
    match body.as_ref() {
        SetExpr::Insert(_) => return read_only("INSERT"),
        SetExpr::Update(_) => return read_only("UPDATE"),
        SetExpr::Delete(_) => return read_only("DELETE"),
        SetExpr::Merge(_) => return read_only("MERGE"),
        SetExpr::Select(_)
        | SetExpr::Query(_)
        | SetExpr::SetOperation { .. }
        | SetExpr::Values(_)
        | SetExpr::Table(_) => {}
    }
    check_sets(body)?;
    if let Some(order_by) = order_by {
        let all = matches!(order_by.kind, OrderByKind::All(_));
        let filled = match &order_by.kind {
            OrderByKind::Expressions(items) => items.iter().any(|item| item.with_fill.is_some()),
            OrderByKind::All(_) => false,
        };
        refuse(&[(all, "ORDER BY ALL"), (filled, "WITH FILL"), (order_by.interpolate.is_some(), "INTERPOLATE")])?;
        check_order_by_windows(query)?;
    }
    match limit_clause {
        Some(LimitClause::OffsetCommaLimit { .. }) => {
            let error = Error::new(Sqlstate::SyntaxError, "LIMIT #,# syntax is not supported");
            return ControlFlow::Break(error.hint("Use separate LIMIT and OFFSET clauses."));
        }
        Some(LimitClause::LimitOffset { limit_by, .. }) if !limit_by.is_empty() => return unsupported("LIMIT BY"),
        Some(LimitClause::LimitOffset { .. }) | None => {}
    }
    let Some(with) = with else { return ControlFlow::Continue(()) };
    for cte in &with.cte_tables {
        refuse(&[(cte.from.is_some(), "FROM after a WITH query")])?;
        check_alias(Some(&cte.alias))?;
        // The planner reads only the two sides of a recursive query's UNION.
        let inner = &cte.query;
        let union = matches!(inner.body.as_ref(), SetExpr::SetOperation { .. });
        let more =
            inner.order_by.is_some() || inner.limit_clause.is_some() || inner.with.is_some() || inner.fetch.is_some();
        refuse(&[(with.recursive && union && more, "WITH, ORDER BY, LIMIT or OFFSET in a recursive query")])?;
    }
    ControlFlow::Continue(())
}

/// How often a row is there does not count for the planner.
fn check_sets(body: &SetExpr) -> ControlFlow<Error> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return ControlFlow::Continue(()) };
    let all = *set_quantifier == SetQuantifier::All;
    refuse(&[
        (all && *op == SetOperator::Except, "EXCEPT ALL"),
        (all && *op == SetOperator::Intersect, "INTERSECT ALL"),
    ])?;
    check_sets(left)?;
    check_sets(right)
}

/// OVER w in ORDER BY is read as no window at all.
fn check_order_by_windows(query: &Query) -> ControlFlow<Error> {
    let mut windows = NamedWindows::default();
    if let Some(order_by) = &query.order_by {
        let _ = Visit::visit(order_by, &mut windows);
    }
    refuse(&[(windows.found > 0, "the name of a window in ORDER BY")])
}

fn check_select(select: &Select) -> ControlFlow<Error> {
    let Select {
        select_token: _,
        optimizer_hints: _,
        distinct,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection,
        exclude,
        into,
        from,
        lateral_views,
        prewhere,
        selection,
        connect_by,
        group_by,
        cluster_by,
        distribute_by,
        sort_by,
        having,
        named_window,
        qualify,
        window_before_qualify: _,
        value_table_mode,
        flavor,
    } = select;
    if into.is_some() {
        return read_only("SELECT INTO");
    }
    let group_modifiers = match group_by {
        GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) => !modifiers.is_empty(),
    };
    refuse(&[
        (select_modifiers.is_some(), "a modifier of SELECT"),
        (top.is_some(), "TOP"),
        (exclude.is_some(), "EXCLUDE after the select list"),
        (!lateral_views.is_empty(), "LATERAL VIEW"),
        (prewhere.is_some(), "PREWHERE"),
        (!connect_by.is_empty(), "CONNECT BY"),
        (!cluster_by.is_empty(), "CLUSTER BY"),
        (!distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!sort_by.is_empty(), "SORT BY"),
        (value_table_mode.is_some(), "SELECT AS"),
        (*flavor != SelectFlavor::Standard, "FROM without SELECT"),
        (group_modifiers, "GROUP BY … WITH"),
    ])?;
    for item in projection {
        let options = match item {
            SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => options,
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => continue,
            SelectItem::ExprWithAliases { .. } => return unsupported("a list of aliases"),
        };
        refuse(&[
            (options.opt_ilike.is_some(), "* ILIKE"),
            (options.opt_rename.is_some(), "* RENAME"),
            (options.opt_alias.is_some(), "an alias of *"),
        ])?;
    }
    for Join { relation: _, global, join_operator } in from.iter().flat_map(|table| &table.joins) {
        refuse(&[(*global, "GLOBAL JOIN")])?;
        check_join(join_operator)?;
    }
    for NamedWindowDefinition(_, window) in named_window {
        match window {
            NamedWindowExpr::NamedWindow(_) => return unsupported("a window that is another's name"),
            NamedWindowExpr::WindowSpec(spec) => refuse(&[(spec.window_name.is_some(), "a window built on another")])?,
        }
    }
    // The planner puts windows in the place of their names in the select list only.
    let mut elsewhere = NamedWindows::default();
    for expr in selection.iter().chain(having).chain(qualify) {
        let _ = Visit::visit(expr, &mut elsewhere);
    }
    if let Some(Distinct::On(keys)) = distinct {
        let _ = Visit::visit(keys, &mut elsewhere);
    }
    refuse(&[(elsewhere.found > 0, "the name of a window outside of the select list")])
}

fn check_join(operator: &JoinOperator) -> ControlFlow<Error> {
    match operator {
        JoinOperator::Join(_)
        | JoinOperator::Inner(_)
        | JoinOperator::Right(_)
        | JoinOperator::RightOuter(_)
        | JoinOperator::FullOuter(_)
        | JoinOperator::Left(_)
        | JoinOperator::LeftOuter(_)
        | JoinOperator::CrossJoin(_)
        | JoinOperator::LeftSemi(_)
        | JoinOperator::RightSemi(_)
        | JoinOperator::LeftAnti(_)
        | JoinOperator::RightAnti(_) => ControlFlow::Continue(()),
        JoinOperator::Semi(_)
        | JoinOperator::Anti(_)
        | JoinOperator::CrossApply
        | JoinOperator::OuterApply
        | JoinOperator::AsOf { .. }
        | JoinOperator::StraightJoin(_)
        | JoinOperator::ArrayJoin
        | JoinOperator::LeftArrayJoin
        | JoinOperator::InnerArrayJoin => unsupported("this kind of JOIN"),
    }
}

/// Refuses joins by names that keep rows of the right side: the one column would be the left table's alone.
fn check_joins_by_name(body: &SetExpr) -> ControlFlow<Error> {
    match body {
        SetExpr::Select(select) => {
            for join in select.from.iter().flat_map(|table| &table.joins) {
                if let JoinOperator::Right(constraint)
                | JoinOperator::RightOuter(constraint)
                | JoinOperator::FullOuter(constraint) = &join.join_operator
                    && matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural)
                {
                    let message = "RIGHT and FULL JOIN with USING or NATURAL are not supported here";
                    let error = Error::unsupported(message);
                    return ControlFlow::Break(error.hint("Join ON a.x = b.x, and select coalesce(a.x, b.x)."));
                }
            }
            ControlFlow::Continue(())
        }
        SetExpr::SetOperation { left, right, .. } => {
            check_joins_by_name(left)?;
            check_joins_by_name(right)
        }
        _ => ControlFlow::Continue(()),
    }
}

fn check_alias(alias: Option<&TableAlias>) -> ControlFlow<Error> {
    let Some(TableAlias { explicit: _, name: _, columns, at }) = alias else { return ControlFlow::Continue(()) };
    refuse(&[
        (at.is_some(), "AT after an alias"),
        (columns.iter().any(|column| column.data_type.is_some()), "a list of columns with types after an alias"),
    ])
}

fn check_arguments(arguments: &[FunctionArg]) -> ControlFlow<Error> {
    let named = arguments.iter().any(|a| !matches!(a, FunctionArg::Unnamed(_)));
    refuse(&[(named, "a named argument of a function in FROM")])
}

fn check_table(factor: &TableFactor) -> ControlFlow<Error> {
    match factor {
        TableFactor::Table {
            name: _,
            alias,
            args,
            with_hints,
            version,
            with_ordinality: _,
            partitions,
            json_path,
            sample,
            index_hints,
        } => {
            refuse(&[
                (sample.is_some(), "TABLESAMPLE"),
                (version.is_some(), "a version of a table"),
                (!with_hints.is_empty() || !index_hints.is_empty(), "a hint at a table"),
                (!partitions.is_empty(), "PARTITION"),
                (json_path.is_some(), "a path into a table"),
                (args.as_ref().is_some_and(|a| a.settings.is_some()), "SETTINGS"),
            ])?;
            check_arguments(args.as_ref().map_or(&[], |a| a.args.as_slice()))?;
            check_alias(alias.as_ref())
        }
        TableFactor::Derived { lateral: _, subquery: _, alias, sample } => {
            refuse(&[(sample.is_some(), "TABLESAMPLE")])?;
            check_alias(alias.as_ref())
        }
        TableFactor::Function { lateral: _, name: _, args, with_ordinality: _, alias } => {
            check_arguments(args)?;
            check_alias(alias.as_ref())
        }
        TableFactor::UNNEST { alias, array_exprs: _, with_offset, with_offset_alias, with_ordinality: _ } => {
            refuse(&[(*with_offset || with_offset_alias.is_some(), "WITH OFFSET")])?;
            check_alias(alias.as_ref())
        }
        TableFactor::NestedJoin { table_with_joins, alias } => {
            for Join { relation: _, global, join_operator } in &table_with_joins.joins {
                refuse(&[(*global, "GLOBAL JOIN")])?;
                check_join(join_operator)?;
            }
            check_alias(alias.as_ref())
        }
        TableFactor::TableFunction { .. } => unsupported("TABLE(…)"),
        TableFactor::JsonTable { .. } | TableFactor::OpenJsonTable { .. } => unsupported("JSON_TABLE"),
        TableFactor::Pivot { .. } => unsupported("PIVOT"),
        TableFactor::Unpivot { .. } => unsupported("UNPIVOT"),
        TableFactor::MatchRecognize { .. } => unsupported("MATCH_RECOGNIZE"),
        TableFactor::XmlTable { .. } => unsupported("XMLTABLE"),
        TableFactor::SemanticView { .. } => unsupported("SEMANTIC_VIEW"),
    }
}

fn check_expr(expr: &Expr) -> ControlFlow<Error> {
    match expr {
        Expr::Function(function) => {
            let Function {
                name: _,
                uses_odbc_syntax,
                parameters,
                args: _,
                filter: _,
                null_treatment: _,
                over,
                within_group: _,
            } = function;
            refuse(&[
                (*uses_odbc_syntax, "{fn …}"),
                (*parameters != FunctionArguments::None, "a second list of arguments"),
                (
                    matches!(over, Some(WindowType::WindowSpec(spec)) if spec.window_name.is_some()),
                    "a window built on another",
                ),
            ])
        }
        // Where the query has a NULL, it would be answered otherwise.
        Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } if matches!(right.as_ref(), Expr::Subquery(_)) => {
            let message = "a comparison with ANY or ALL of a query is not supported";
            ControlFlow::Break(Error::unsupported(message).hint("IN, EXISTS, min and max ask the same."))
        }
        Expr::Cast { data_type: DataType::Array(inner), .. } => check_item(inner),
        Expr::TypedString(typed) => match &typed.data_type {
            DataType::Array(inner) => check_item(inner),
            _ => ControlFlow::Continue(()),
        },
        _ => ControlFlow::Continue(()),
    }
}

/// Lengths that the planner forgets.
fn check_item(inner: &ArrayElemTypeDef) -> ControlFlow<Error> {
    let item = match inner {
        ArrayElemTypeDef::AngleBracket(item)
        | ArrayElemTypeDef::SquareBracket(item, _)
        | ArrayElemTypeDef::Parenthesis(item) => item.as_ref(),
        ArrayElemTypeDef::None => return ControlFlow::Continue(()),
    };
    match item {
        DataType::Char(_) | DataType::Character(_) => {
            ControlFlow::Break(Error::unsupported("type char(n)[] is not supported").hint("Use text[]."))
        }
        DataType::Varchar(Some(_)) | DataType::CharacterVarying(Some(_)) | DataType::CharVarying(Some(_)) => {
            unsupported("type varchar(n)[]")
        }
        DataType::Array(inner) => check_item(inner),
        _ => ControlFlow::Continue(()),
    }
}
