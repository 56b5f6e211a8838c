//! The scalar functions of schema `kanon`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::{SystemContext, policy_text};
use crate::error::{Error, Result};
use crate::principal::Principal;
use crate::statement::Procedure;

/// `kanon.whoami()` and `kanon.explain_policy(table)`. Whose they are follows from the configuration of the statement that calls them.
pub fn functions() -> impl Iterator<Item = ScalarUDF> {
    let pure = [Kind::WhoAmI, Kind::ExplainPolicy].into_iter().map(|kind| ScalarUDF::from(SystemFunction::new(kind)));
    pure.chain(Procedure::ALL.map(|procedure| {
        let signature =
            Signature::one_of(vec![TypeSignature::VariadicAny, TypeSignature::Nullary], Volatility::Volatile);
        ScalarUDF::from(Effect { procedure, name: format!("kanon.{}", procedure.name()), signature })
    }))
}

/// A function with effects where an expression stands: there it says how it is called.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Effect {
    procedure: Procedure,
    name: String,
    signature: Signature,
}

impl Effect {
    fn refused(&self) -> Error {
        let name = &self.name;
        Error::unsupported(format!("{name}() cannot be called in a query"))
            .hint(format!("It has effects, so it stands alone: SELECT {name}(…), or CALL {name}(…)."))
    }
}

impl ScalarUDFImpl for Effect {
    fn name(&self) -> &str {
        &self.name
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _arguments: &[DataType]) -> DfResult<DataType> {
        Err(self.refused().into())
    }
    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(self.refused().into())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    WhoAmI,
    ExplainPolicy,
}

/// One of them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SystemFunction {
    kind: Kind,
    signature: Signature,
}

impl SystemFunction {
    fn new(kind: Kind) -> Self {
        let signature = match kind {
            Kind::WhoAmI => Signature::nullary(Volatility::Stable),
            Kind::ExplainPolicy => Signature::string(1, Volatility::Stable),
        };
        SystemFunction { kind, signature }
    }
}

impl SystemContext {
    /// One that PostgreSQL would print for a row: principal, roles, home node, how it came.
    fn who_am_i(&self) -> String {
        let Principal { name, home_node, auth_method, .. } = &self.principal;
        format!("({name},\"{}\",{home_node},{})", self.roles(), auth_method.as_str())
    }

    fn explain_policy(&self, name: &str) -> Result<String> {
        let table = self.table(name)?;
        let kind = table.facts.protection.as_ref().map(|protection| protection.unit_kind.as_str());
        let snapshot = self.node.catalog.snapshot();
        let own = table.schema_name == "public";
        let budget = kind.filter(|_| own).and_then(|kind| snapshot.privacy_units.get(kind)).copied();
        Ok(policy_text::explain(&table, budget))
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
        let context = arguments.config_options.extensions.get::<SystemContext>();
        let context = context.ok_or_else(|| Error::internal("a statement without a session"))?;
        match (self.kind, arguments.args.first()) {
            (Kind::WhoAmI, _) => Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(context.who_am_i())))),
            (Kind::ExplainPolicy, Some(ColumnarValue::Scalar(name))) => {
                let text = match name.cast_to(&DataType::Utf8)? {
                    ScalarValue::Utf8(Some(name)) => Some(context.explain_policy(&name)?),
                    _ => None,
                };
                Ok(ColumnarValue::Scalar(ScalarValue::Utf8(text)))
            }
            (Kind::ExplainPolicy, Some(ColumnarValue::Array(names))) => {
                let names = cast(names, &DataType::Utf8)?;
                let names = names.as_string::<i32>();
                let texts = names.iter().map(|name| name.map(|name| context.explain_policy(name)).transpose());
                let texts: StringArray = texts.collect::<Result<_>>()?;
                debug_assert_eq!(texts.len(), names.len());
                Ok(ColumnarValue::Array(Arc::new(texts) as ArrayRef))
            }
            (Kind::ExplainPolicy, None) => Err(Error::internal("explain_policy without its argument").into()),
        }
    }
}
