//! A small hospital: tables, their facts, and how a query is decided over them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::prelude::{SessionConfig, SessionContext};
use kanon_planner::boundary::{Options, decide};
use kanon_planner::facts::{
    Bounds, Domain, Facts, Placement, PrivateColumn, PrivatePolicy, Protection, SiteId, TableFacts,
};
use kanon_planner::refusal::Refusal;
use kanon_planner::release_unit::{Decision, ReleaseNode, ReleaseUnit};
use kanon_privacy::policy::{Access, ColumnRole, DominancePercent, MinCohort};

pub struct World;

fn protection(unit: &str, kind: &str, unique: bool, k: i64) -> Protection {
    Protection {
        access: Access::Cohort,
        unit_column: unit.into(),
        unit_kind: kind.into(),
        unit_unique: unique,
        min_cohort: MinCohort::try_from(k).unwrap(),
        dominance_percent: DominancePercent::default(),
    }
}

/// Of patients the age is bounded and the sex is public; of visits no key can be selected.
fn private(patients: bool) -> PrivatePolicy {
    let mut columns = BTreeMap::new();
    if patients {
        columns.insert("age".into(), PrivateColumn { bounds: Some(Bounds::new(0.0, 110.0).unwrap()), domain: None });
        let domain = Domain::new(vec!["male".into(), "female".into()], None).unwrap();
        columns.insert("sex".into(), PrivateColumn { bounds: None, domain: Some(domain) });
    }
    PrivatePolicy {
        epsilon_per_query: Some(0.5.try_into().unwrap()),
        delta_per_query: patients.then(|| 1e-8.try_into().unwrap()),
        max_groups_per_unit: NonZeroU32::new(3).filter(|_| !patients),
        max_rows_per_group: NonZeroU32::new(2).filter(|_| !patients),
        columns,
        ..PrivatePolicy::default()
    }
}

fn sites(table: &str) -> Placement {
    let sites = vec![SiteId::new("budapest"), SiteId::new("cleveland")];
    Placement::Sites { sites, table: format!("public.{table}"), site_column: true }
}

impl Facts for World {
    fn of(&self, scan: &TableScan) -> TableFacts {
        let name = scan.table_name.table().to_owned();
        let mut facts = TableFacts {
            name: name.clone(),
            protection: None,
            private: None,
            domains: BTreeMap::new(),
            closed: None,
            roles: BTreeMap::new(),
            placement: Placement::Local,
        };
        match name.as_str() {
            "patients" => {
                facts.protection = Some(protection("pid", "patient", true, 10));
                facts.roles.insert("pid".into(), ColumnRole::Unit);
                facts.roles.insert("ssn".into(), ColumnRole::Identifier);
                facts.roles.insert("chol".into(), ColumnRole::Measure);
            }
            "visits" => {
                facts.protection = Some(protection("pid", "patient", false, 12));
                let domain = Domain::new(["er", "day", "night"].map(str::to_owned).into(), None).unwrap();
                facts.domains.insert("kind".into(), domain);
            }
            "staff" => facts.protection = Some(protection("id", "employee", true, 5)),
            "hidden" => {
                facts.protection =
                    Some(Protection { access: Access::Private, ..protection("pid", "patient", true, 10) })
            }
            "secret" | "secret_visits" => {
                let unique = name == "secret";
                facts.protection =
                    Some(Protection { access: Access::Private, ..protection("pid", "patient", unique, 10) });
                facts.private = Some(private(unique));
            }
            "closed" => facts.closed = Some("has no policy and answers nothing".into()),
            "fed_secret" => {
                facts.protection =
                    Some(Protection { access: Access::Private, ..protection("pid", "patient", true, 10) });
                facts.private = Some(private(true));
                facts.placement = sites(&name);
            }
            "fed" | "fed_visits" => {
                facts.protection = Some(protection("pid", "patient", name == "fed", 10));
                facts.placement = sites(&name);
            }
            "fed_open" => facts.placement = sites("fed_open"),
            "regions" | "days" | "generate_series()" => {}
            _ => facts.closed = Some("is unknown".to_owned()),
        }
        facts
    }
}

pub fn context() -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(1);
    let ctx = SessionContext::new_with_config(config);
    let patients = vec![
        ("pid", DataType::Int64),
        ("ssn", DataType::Utf8),
        ("sex", DataType::Utf8),
        ("age", DataType::Int32),
        ("weight", DataType::Float64),
        ("bill", DataType::Decimal128(10, 2)),
        ("born", DataType::Date32),
        ("smoker", DataType::Boolean),
        ("region", DataType::Int32),
        ("chol", DataType::Float64),
    ];
    let visits = vec![
        ("pid", DataType::Int64),
        ("day", DataType::Date32),
        ("seen", DataType::Timestamp(TimeUnit::Nanosecond, None)),
        ("kind", DataType::Utf8),
        ("cost", DataType::Float64),
        ("n", DataType::Int64),
    ];
    ctx.register_udf(kanon_planner::width_bucket::width_bucket().as_ref().clone());
    for part in kanon_planner::parts::part_aggregates() {
        ctx.register_udaf(part.as_ref().clone());
    }
    let with_site = |fields: &[(&'static str, DataType)]| {
        let mut fields = fields.to_vec();
        fields.push(("site", DataType::Utf8));
        fields
    };
    let regions = vec![("id", DataType::Int32), ("name", DataType::Utf8), ("size", DataType::Int64)];
    for (name, fields) in [
        ("patients", patients.clone()),
        ("visits", visits.clone()),
        ("staff", vec![("id", DataType::Int64), ("age", DataType::Int32)]),
        ("hidden", patients.clone()),
        ("secret", patients.clone()),
        ("secret_visits", visits.clone()),
        ("closed", patients.clone()),
        ("unknown", patients.clone()),
        ("fed", with_site(&patients)),
        ("fed_visits", with_site(&visits)),
        ("fed_secret", with_site(&patients)),
        ("fed_open", with_site(&regions)),
        ("regions", regions.clone()),
        ("days", vec![("day", DataType::Date32)]),
    ] {
        let fields: Vec<Field> = fields.into_iter().map(|(n, t)| Field::new(n, t, true)).collect();
        let table = MemTable::try_new(Arc::new(Schema::new(fields)), vec![vec![]]).unwrap();
        ctx.register_table(name, Arc::new(table)).unwrap();
    }
    ctx
}

/// The analysed plan of a query, or what the query engine says of it.
pub async fn analysed(ctx: &SessionContext, sql: &str) -> Result<LogicalPlan, String> {
    let state = ctx.state();
    let plan = state.create_logical_plan(sql).await.map_err(|e| e.to_string())?;
    state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).map_err(|e| e.to_string())
}

pub async fn decided(ctx: &SessionContext, sql: &str) -> Result<Decision, Refusal> {
    let plan = analysed(ctx, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    let decision = decide(plan, &World, &Options::default());
    if let Ok(decision) = &decision {
        sound(decision);
    }
    decision
}

/// The unit of a query that has one release.
pub async fn unit(ctx: &SessionContext, sql: &str) -> Arc<ReleaseUnit> {
    match decided(ctx, sql).await {
        Ok(Decision::Release { units, .. }) if units.len() == 1 => Arc::clone(&units[0]),
        other => panic!("{sql}: {other:?}"),
    }
}

/// What holds of every decision, whatever the query.
pub fn sound(decision: &Decision) {
    let (outer, units) = match decision {
        Decision::Open(plan) => (plan, vec![]),
        Decision::Release { outer, units } => (outer, units.clone()),
    };
    let mut leaves = vec![];
    outer
        .apply_with_subqueries(|p| {
            match p {
                LogicalPlan::TableScan(scan) => {
                    assert!(
                        World.of(scan).protection.is_none(),
                        "a protected source above the boundary: {}",
                        outer.display_indent()
                    );
                }
                LogicalPlan::Extension(e) => {
                    leaves.push(e.node.as_any().downcast_ref::<ReleaseNode>().unwrap().unit.id)
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
    for unit in &units {
        unit.input
            .apply_with_subqueries(|p| {
                if let LogicalPlan::Extension(e) = p {
                    let id = e.node.as_any().downcast_ref::<ReleaseNode>().unwrap().unit.id;
                    assert!(id < unit.id, "releases come in the order of their dependencies");
                    leaves.push(id);
                }
                Ok(TreeNodeRecursion::Continue)
            })
            .unwrap();
        if unit.protection.is_none() {
            continue;
        }
        let schema = unit.input.schema();
        assert!(schema.has_column(unit.unit.as_ref().unwrap()), "the unit is carried: {}", unit.input.display_indent());
        let total = |e: &datafusion::logical_expr::Expr| {
            e.apply(|e| {
                use datafusion::logical_expr::{Expr, ExprSchemable};
                if let Expr::Column(c) = e {
                    assert!(
                        schema.has_column(c),
                        "column {c} of a measure is carried: {}",
                        unit.input.display_indent()
                    );
                    e.get_type(schema.as_ref()).unwrap();
                }
                Ok(TreeNodeRecursion::Continue)
            })
            .unwrap();
        };
        for k in unit.keys.iter().chain(unit.measures.iter().map(|m| &m.aggregate)) {
            total(k);
        }
        for m in &unit.measures {
            m.conditions.iter().chain(&m.present).chain(&m.dominated).for_each(total);
        }
        types_fit(unit);
    }
    for id in 0..units.len() {
        assert!(leaves.contains(&id), "release #{id} is read by somebody");
    }
}

/// The aggregate made of keys and measures has the types that the outer plan was promised.
fn types_fit(unit: &ReleaseUnit) {
    use datafusion::logical_expr::Aggregate;
    let measures = unit.measures.iter().enumerate().map(|(i, m)| m.aggregate.clone().alias(format!("m{i}"))).collect();
    let made = Aggregate::try_new(Arc::new(unit.input.clone()), unit.keys.clone(), measures).unwrap();
    let made: Vec<_> = made.schema.fields().iter().map(|f| f.data_type().clone()).collect();
    let promised: Vec<_> = unit.schema.fields().iter().map(|f| f.data_type().clone()).collect();
    assert_eq!(made, promised, "types of keys and measures");
}
