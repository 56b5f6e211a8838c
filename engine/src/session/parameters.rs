//! What a statement's placeholders are: their types when it is prepared, their values when it runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use datafusion::arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::ParamValues;
use datafusion::common::metadata::{FieldMetadata, ScalarAndMetadata};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, TypeSignature};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, FunctionArguments, Query, TableFactor, VisitMut, VisitorMut, visit_expressions,
};

use super::generic::left_open;
use crate::error::{Error, Result, Sqlstate};
use crate::functions::arithmetic::inputs_schema;
use crate::functions::numeric::AS_NUMERIC;
use crate::functions::series::SERIES;
use crate::pg_catalog::integers::BOUND_KEY;

/// What stands for a `numeric` whose digits only a value says.
const NUMERIC: DataType = DataType::Decimal128(38, 10);

/// How the placeholders of a statement are treated.
pub(super) enum Parameters {
    /// Being prepared: their types are the client's, or inferred, and their values NULL.
    Types(Vec<Option<DataType>>),
    /// Being run.
    Values(Vec<ScalarValue>),
    /// Being planned for all values of these types.
    Open(Vec<DataType>),
}

/// Values as they stand in a plan. A number of 64 bits that is bound is a `bigint`, however small it is: one that is written would be an `integer`. So is a text a
/// text by the word of the client (`is_text`), where one that is written is of the type that is wanted.
pub(super) fn bound(values: Vec<ScalarValue>, is_text: &[bool]) -> ParamValues {
    let bound = FieldMetadata::from(BTreeMap::from([(BOUND_KEY.to_owned(), String::new())]));
    let values = values.into_iter().enumerate().map(|(place, value)| {
        let is_text = is_text.get(place).copied().unwrap_or(false);
        let metadata = (is_text || matches!(value, ScalarValue::Int64(_))).then(|| bound.clone());
        ScalarAndMetadata::new(value, metadata)
    });
    ParamValues::List(values.collect())
}

impl Parameters {
    /// Puts the values into a plan that is not analysed yet. `written` are the placeholders of the statement. Answers their types.
    ///
    /// # Errors
    /// 42P02 for a number without a value, 42P18 for one that has no type and is nowhere used.
    pub fn bind(self, plan: LogicalPlan, written: &BTreeSet<String>) -> Result<(LogicalPlan, Vec<DataType>)> {
        let found = types_in(&plan)?;
        let mut count = 0;
        // Which are texts by the word of the client: they are of no other type.
        let mut is_text = Vec::new();
        for name in written {
            let number = name.trim_start_matches('$').parse::<usize>().ok().filter(|n| (1..=65_535).contains(n));
            let Some(number) = number else {
                return Err(Error::new(Sqlstate::UndefinedParameter, format!("there is no parameter {name}")));
            };
            count = count.max(number);
        }
        let values = match self {
            Parameters::Values(values) => {
                if count > values.len() {
                    return Err(Error::new(Sqlstate::UndefinedParameter, format!("there is no parameter ${count}")));
                }
                values
            }
            Parameters::Open(types) => return Ok((left_open(plan, &types)?, types)),
            Parameters::Types(types) => {
                count = count.max(types.len());
                let implied = implied_types(&plan)?;
                let mut values = Vec::with_capacity(count);
                for i in 0..count {
                    let name = format!("${}", i + 1);
                    let given = types.get(i).cloned().flatten();
                    if given.is_none() && !written.contains(&name) {
                        let message = format!("could not determine data type of parameter {name}");
                        return Err(Error::new(Sqlstate::IndeterminateDatatype, message));
                    }
                    let inferred = found.get(&name).cloned().flatten();
                    is_text.push(given == Some(DataType::Utf8));
                    let data_type = given.or(implied.get(&name).cloned()).or(inferred).unwrap_or(DataType::Utf8);
                    values.push(ScalarValue::try_from(&data_type)?);
                }
                values
            }
        };
        let types = values.iter().map(ScalarValue::data_type).collect();
        if count == 0 {
            return Ok((plan, types));
        }
        Ok((plan.replace_params_with_values(&bound(values, &is_text))?, types))
    }
}

impl Parameters {
    /// Takes those that have no value from the arguments of functions, as PostgreSQL does with parameters of type `void`.
    pub(super) fn drop_void(&self, query: &mut Query) {
        let types: Vec<Option<DataType>> = match self {
            Parameters::Types(types) => types.clone(),
            Parameters::Values(values) => values.iter().map(|value| Some(value.data_type())).collect(),
            Parameters::Open(types) => types.iter().cloned().map(Some).collect(),
        };
        let numbered = types.iter().enumerate();
        let void = numbered.filter(|(_, of)| **of == Some(DataType::Null)).map(|(at, _)| format!("${}", at + 1));
        let void: BTreeSet<String> = void.collect();
        if !void.is_empty() {
            let _ = VisitMut::visit(query, &mut DropVoid(void));
        }
    }
}

struct DropVoid(BTreeSet<String>);

impl DropVoid {
    fn drop_of(&self, arguments: &mut Vec<FunctionArg>) {
        arguments.retain(|argument| {
            !matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Value(value)))
                if matches!(&value.value, ast::Value::Placeholder(name) if self.0.contains(name)))
        });
    }
}

impl VisitorMut for DropVoid {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { args: Some(arguments), .. } => self.drop_of(&mut arguments.args),
            TableFactor::Function { args, .. } => self.drop_of(args),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Function(function) = expr
            && let FunctionArguments::List(list) = &mut function.args
        {
            self.drop_of(&mut list.args);
        }
        ControlFlow::Continue(())
    }
}

/// The placeholders of a query, as they are written.
pub(super) fn written_in(query: &Query) -> BTreeSet<String> {
    let mut written = BTreeSet::new();
    let _ = visit_expressions(query, |expr| {
        if let ast::Expr::Value(value) = expr
            && let ast::Value::Placeholder(name) = &value.value
        {
            written.insert(name.clone());
        }
        ControlFlow::<()>::Continue(())
    });
    written
}

/// What is said of the types of placeholders, the first of each that is.
fn types_in(plan: &LogicalPlan) -> Result<HashMap<String, Option<DataType>>> {
    let mut found: HashMap<String, Option<DataType>> = HashMap::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            datafusion::common::tree_node::TreeNode::apply(expr, |expr| {
                if let Expr::Placeholder(placeholder) = expr {
                    let said = placeholder.field.as_ref().map(|field| field.data_type().clone());
                    let known = found.entry(placeholder.id.clone()).or_default();
                    *known = known.take().or(said);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// Types that follow from where a placeholder stands, and that DataFusion does not infer: LIMIT and OFFSET, a cast,
/// `= ANY($1)`, an argument of a function that takes one type.
fn implied_types(plan: &LogicalPlan) -> Result<HashMap<String, DataType>> {
    let mut found = HashMap::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for expr in [&limit.skip, &limit.fetch].into_iter().flatten() {
                if let Some(name) = placeholder(expr) {
                    found.insert(name, DataType::Int64);
                }
            }
        }
        let schema = inputs_schema(node);
        node.apply_expressions(|expr| {
            datafusion::common::tree_node::TreeNode::apply(expr, |expr| {
                match expr {
                    Expr::Cast(cast) => {
                        let to = cast.field.data_type();
                        if let Some(name) = placeholder(&cast.expr) {
                            found.entry(name).or_insert_with(|| to.clone());
                        }
                    }
                    Expr::ScalarFunction(function) if function.name() == AS_NUMERIC => {
                        if let Some(name) = function.args.first().and_then(placeholder) {
                            found.entry(name).or_insert(NUMERIC);
                        }
                    }
                    Expr::ScalarFunction(function) if function.name() == SERIES => {
                        let known = function.args.iter().filter_map(|arg| arg.get_type(&schema).ok());
                        let moment =
                            known.into_iter().find(|of| matches!(of, DataType::Timestamp(..) | DataType::Date32));
                        for (place, arg) in function.args.iter().enumerate() {
                            let Some(name) = placeholder(arg) else { continue };
                            let of_type = match &moment {
                                None => DataType::Int32,
                                Some(_) if place == 2 => DataType::Interval(IntervalUnit::MonthDayNano),
                                Some(moment) => moment.clone(),
                            };
                            found.entry(name).or_insert(of_type);
                        }
                    }
                    Expr::ScalarFunction(function) if function.name() == "array_has" => {
                        if let [list, item] = function.args.as_slice()
                            && let Some(name) = placeholder(list)
                            && let Ok(of) = item.get_type(&schema)
                        {
                            found.insert(name, DataType::new_list(of, true));
                        }
                    }
                    Expr::ScalarFunction(function) => {
                        let types = match &function.func.signature().type_signature {
                            TypeSignature::OneOf(all) => all.first(),
                            other => Some(other),
                        };
                        let Some(TypeSignature::Exact(types)) = types else { return Ok(TreeNodeRecursion::Continue) };
                        for (argument, of) in function.args.iter().zip(types) {
                            if let Some(name) = placeholder(argument) {
                                found.entry(name).or_insert_with(|| of.clone());
                            }
                        }
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn placeholder(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Placeholder(placeholder) => Some(placeholder.id.clone()),
        _ => None,
    }
}
