//! The scalar functions of schema `kanon`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::{SystemContext, policy_text};
use crate::error::{Error, Result};

/// Makes `kanon.whoami()` and `kanon.explain_policy(table)` known to a session's state.
///
/// # Errors
/// If the state does not take them.
pub fn register_functions(state: &mut SessionState, context: &SystemContext) -> Result<()> {
    let context = Arc::new(SystemContext {
        node: Arc::clone(&context.node),
        principal: context.principal.clone(),
        last_query: None,
    });
    for kind in [Kind::WhoAmI, Kind::ExplainPolicy] {
        state.register_udf(Arc::new(ScalarUDF::from(SystemFunction::new(kind, Arc::clone(&context)))))?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    WhoAmI,
    ExplainPolicy,
}

/// A function of one session.
struct SystemFunction {
    kind: Kind,
    signature: Signature,
    context: Arc<SystemContext>,
}

impl SystemFunction {
    fn new(kind: Kind, context: Arc<SystemContext>) -> Self {
        let signature = match kind {
            Kind::WhoAmI => Signature::nullary(Volatility::Stable),
            Kind::ExplainPolicy => Signature::string(1, Volatility::Stable),
        };
        SystemFunction { kind, signature, context }
    }

    /// One that PostgreSQL would print for a row: principal, roles, home node, how it came.
    fn who_am_i(&self) -> String {
        let context = &self.context;
        format!(
            "({},\"{}\",{},{})",
            context.principal.name,
            context.roles(),
            context.principal.home_node,
            context.principal.auth_method.as_str()
        )
    }

    fn explain_policy(&self, name: &str) -> Result<String> {
        let table = self.context.table(name)?;
        let kind = table.facts.protection.as_ref().map(|protection| protection.unit_kind.as_str());
        let snapshot = self.context.node.catalog.snapshot();
        let own = table.schema_name == "public";
        let budget = kind.filter(|_| own).and_then(|kind| snapshot.privacy_units.get(kind)).copied();
        Ok(policy_text::explain(&table, budget))
    }
}

impl fmt::Debug for SystemFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SystemFunction({:?})", self.kind)
    }
}

impl PartialEq for SystemFunction {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && Arc::ptr_eq(&self.context, &other.context)
    }
}

impl Eq for SystemFunction {}

impl Hash for SystemFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl ScalarUDFImpl for SystemFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::WhoAmI => "kanon.whoami",
            Kind::ExplainPolicy => "kanon.explain_policy",
        }
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _arguments: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }
    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        match (self.kind, arguments.args.first()) {
            (Kind::WhoAmI, _) => Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(self.who_am_i())))),
            (Kind::ExplainPolicy, Some(ColumnarValue::Scalar(name))) => {
                let text = match name.cast_to(&DataType::Utf8)? {
                    ScalarValue::Utf8(Some(name)) => Some(self.explain_policy(&name)?),
                    _ => None,
                };
                Ok(ColumnarValue::Scalar(ScalarValue::Utf8(text)))
            }
            (Kind::ExplainPolicy, Some(ColumnarValue::Array(names))) => {
                let names = cast(names, &DataType::Utf8)?;
                let names = names.as_string::<i32>();
                let texts = names.iter().map(|name| name.map(|name| self.explain_policy(name)).transpose());
                let texts: StringArray = texts.collect::<Result<_>>()?;
                debug_assert_eq!(texts.len(), names.len());
                Ok(ColumnarValue::Array(Arc::new(texts) as ArrayRef))
            }
            (Kind::ExplainPolicy, None) => Err(Error::internal("explain_policy without its argument").into()),
        }
    }
}
