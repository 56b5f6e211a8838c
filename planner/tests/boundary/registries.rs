//! Every function that a session could know is in a list of the planner.
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::Volatility;
use kanon_planner::functions::{Scalar, aggregate, higher_order, scalar, table, window};

#[test]
fn every_function_of_every_registry_is_listed() {
    for f in SessionStateDefaults::default_scalar_functions() {
        let rule = scalar(f.name()).unwrap_or_else(|| panic!("scalar function {} is in no list", f.name()));
        if f.signature().volatility != Volatility::Immutable {
            assert_eq!(rule, Scalar::Refused, "{} is not deterministic", f.name());
        }
    }
    for f in SessionStateDefaults::default_aggregate_functions() {
        assert!(aggregate(f.name()).is_some(), "aggregate function {} is in no list", f.name());
    }
    for f in SessionStateDefaults::default_window_functions() {
        assert!(window(f.name()), "window function {} is in no list", f.name());
    }
    for f in SessionStateDefaults::default_table_functions() {
        assert!(table(f.name()), "table function {} is in no list", f.name());
    }
    for f in SessionStateDefaults::default_higher_order_functions() {
        assert!(higher_order(f.name()).is_some(), "higher-order function {} is in no list", f.name());
    }
}
