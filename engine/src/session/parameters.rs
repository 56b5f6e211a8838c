//! What a statement's placeholders are: their types when it is prepared, their values when it runs.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit};
use datafusion::common::ParamValues;
use datafusion::common::metadata::{FieldMetadata, ScalarAndMetadata};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, TypeSignature};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, FunctionArguments, Query, TableFactor, VisitMut, VisitorMut, visit_expressions,
};

use super::generic::left_open;
use super::query::all_are_open;
use super::told::{self, Told, arrow_of_parameter, bare, metadata};
use crate::error::{Error, Result, Sqlstate};
use crate::functions::arithmetic::inputs_schema;
use crate::functions::json;
use crate::functions::numeric::AS_NUMERIC;
use crate::functions::series::SERIES;
use crate::pg_catalog::types::{PgType, annotate};

/// What stands for a `numeric` whose digits only a value says.
const NUMERIC: DataType = DataType::Decimal128(38, 10);

/// A parameter of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// What its values are given in. A number may have digits of its own.
    pub data_type: DataType,
    /// What PostgreSQL calls its type.
    pub pg_type: PgType,
}

impl From<DataType> for Parameter {
    fn from(data_type: DataType) -> Parameter {
        Parameter { pg_type: PgType::of(&data_type), data_type }
    }
}

/// How the placeholders of a statement are treated.
pub(super) enum Parameters {
    /// Being prepared: their types are the client's, or inferred, and their values NULL.
    Types(Told),
    /// Being run.
    Values(Vec<ScalarValue>, Told),
    /// Being planned for all values of these types.
    Open(Vec<DataType>, Told),
}

/// Values as they stand in a plan. A number of 64 bits that is bound is a `bigint`, however small it is: one that is written would be an `integer`. What a client says
/// the type of is of that type, where a text that is written is of the type that is wanted.
pub(super) fn bound(values: Vec<ScalarValue>, told: &[Option<PgType>]) -> ParamValues {
    let values = values.into_iter().enumerate().map(|(place, value)| {
        let metadata = metadata(&value.data_type(), told, place);
        let metadata = (!metadata.is_empty()).then(|| FieldMetadata::from(metadata));
        ScalarAndMetadata::new(value, metadata)
    });
    ParamValues::List(values.collect())
}

impl Parameters {
    /// What the client says of them.
    pub(super) fn told(&self) -> &Told {
        match self {
            Parameters::Types(told) | Parameters::Values(_, told) | Parameters::Open(_, told) => told,
        }
    }

    /// The values of a run.
    pub(super) fn values(&self) -> &[ScalarValue] {
        match self {
            Parameters::Values(values, _) => values,
            Parameters::Types(_) | Parameters::Open(..) => &[],
        }
    }

    /// Puts the values into a plan that is not analysed yet. `written` are the placeholders of the statement. Answers their types.
    ///
    /// # Errors
    /// 42P02 for a number without a value, 42P18 for one that has no type and is nowhere used.
    pub fn bind(self, plan: LogicalPlan, written: &BTreeSet<String>) -> Result<(LogicalPlan, Vec<Parameter>)> {
        let plan = if self.told().iter().all(Option::is_none) { plan } else { bare(plan)? };
        // Below the boundary a value is a value, however it came: a question is known again by it.
        let told = if all_are_open(&plan)? { Told::clone(self.told()) } else { Told::default() };
        let mut count = 0;
        for name in written {
            let number = name.trim_start_matches('$').parse::<usize>().ok().filter(|n| (1..=65_535).contains(n));
            let Some(number) = number else {
                return Err(Error::new(Sqlstate::UndefinedParameter, format!("there is no parameter {name}")));
            };
            count = count.max(number);
        }
        let (values, parameters) = match self {
            Parameters::Values(values, _) => {
                if count > values.len() {
                    return Err(Error::new(Sqlstate::UndefinedParameter, format!("there is no parameter ${count}")));
                }
                let parameters = values.iter().map(|value| value.data_type().into()).collect();
                (values, parameters)
            }
            Parameters::Open(types, _) => {
                let plan = left_open(plan, &types, &told)?;
                return Ok((plan, types.into_iter().map(Parameter::from).collect()));
            }
            Parameters::Types(types) => {
                count = count.max(types.len());
                let (found, implied) = (types_in(&plan)?, implied_types(&plan)?);
                let mut values = Vec::with_capacity(count);
                let mut parameters = Vec::with_capacity(count);
                for i in 0..count {
                    let name = format!("${}", i + 1);
                    let given = types.get(i).copied().flatten();
                    let given =
                        given.and_then(|of| Some(Parameter { data_type: arrow_of_parameter(of)?, pg_type: of }));
                    if given.is_none() && !written.contains(&name) {
                        let message = format!("could not determine data type of parameter {name}");
                        return Err(Error::new(Sqlstate::IndeterminateDatatype, message));
                    }
                    let implied = implied.get(&name).map(|field| Parameter {
                        data_type: field.data_type().clone(),
                        pg_type: PgType::of_field(field),
                    });
                    let inferred = || found.get(&name).cloned().flatten().unwrap_or(DataType::Utf8).into();
                    let parameter = given.or(implied).unwrap_or_else(inferred);
                    values.push(ScalarValue::try_from(&parameter.data_type)?);
                    parameters.push(parameter);
                }
                (values, parameters)
            }
        };
        if count == 0 {
            return Ok((plan, parameters));
        }
        Ok((plan.replace_params_with_values(&bound(values, &told))?, parameters))
    }

    /// Puts numbers in place of the parameters of series in FROM.
    pub(super) fn in_series(&self, query: &mut Query) {
        let values: Vec<Option<ScalarValue>> = match self {
            Parameters::Values(values, _) => values.iter().cloned().map(Some).collect(),
            Parameters::Types(told) => {
                told.iter().map(|of| ScalarValue::try_from(&arrow_of_parameter((*of)?)?).ok()).collect()
            }
            Parameters::Open(..) => return,
        };
        let known =
            values.iter().enumerate().filter_map(|(place, value)| Some((place, told::written(value.as_ref()?)?)));
        told::in_series(query, &known.collect());
    }

    /// Takes those that have no value from the arguments of functions, as PostgreSQL does with parameters of type `void`.
    pub(super) fn drop_void(&self, query: &mut Query) {
        let told = self.told().iter().enumerate();
        let void = told.filter(|(_, of)| **of == Some(PgType::VOID)).map(|(at, _)| format!("${}", at + 1));
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
fn implied_types(plan: &LogicalPlan) -> Result<HashMap<String, FieldRef>> {
    let of_type = |data_type: DataType| Arc::new(Field::new("", data_type, true));
    let mut found: HashMap<String, FieldRef> = HashMap::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for expr in [&limit.skip, &limit.fetch].into_iter().flatten() {
                if let Some(name) = placeholder(expr) {
                    found.insert(name, of_type(DataType::Int64));
                }
            }
        }
        let schema = inputs_schema(node);
        node.apply_expressions(|expr| {
            datafusion::common::tree_node::TreeNode::apply(expr, |expr| {
                match expr {
                    Expr::Cast(cast) => {
                        if let Some(name) = placeholder(&cast.expr) {
                            found.entry(name).or_insert_with(|| Arc::clone(&cast.field));
                        }
                    }
                    Expr::ScalarFunction(function) if function.name() == AS_NUMERIC => {
                        if let Some(name) = function.args.first().and_then(placeholder) {
                            found.entry(name).or_insert_with(|| of_type(NUMERIC));
                        }
                    }
                    Expr::ScalarFunction(function) if json::read_by(function.name()).is_some() => {
                        if let Some(name) = function.args.first().and_then(placeholder)
                            && let Some(of) = json::read_by(function.name())
                        {
                            let field = annotate(Field::new("", DataType::Utf8, true), of);
                            found.entry(name).or_insert_with(|| field.into());
                        }
                    }
                    Expr::ScalarFunction(function) if function.name() == SERIES => {
                        let known = function.args.iter().filter_map(|arg| arg.get_type(&schema).ok());
                        let moment =
                            known.into_iter().find(|of| matches!(of, DataType::Timestamp(..) | DataType::Date32));
                        for (place, arg) in function.args.iter().enumerate() {
                            let Some(name) = placeholder(arg) else { continue };
                            let end = match &moment {
                                None => DataType::Int32,
                                Some(_) if place == 2 => DataType::Interval(IntervalUnit::MonthDayNano),
                                Some(moment) => moment.clone(),
                            };
                            found.entry(name).or_insert_with(|| of_type(end));
                        }
                    }
                    Expr::ScalarFunction(function) if function.name() == "array_has" => {
                        if let [list, item] = function.args.as_slice()
                            && let Some(name) = placeholder(list)
                            && let Ok(of) = item.get_type(&schema)
                        {
                            found.insert(name, of_type(DataType::new_list(of, true)));
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
                                found.entry(name).or_insert_with(|| of_type(of.clone()));
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
