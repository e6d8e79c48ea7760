//! Confirmation: without `confirm: true` a tool that changes something says what it would do; with it, it acts;
//! and if the caller names what was announced, it acts only on the same state. The model sets `confirm` itself, so this
//! is a brake, not an approval by a person.

use std::sync::Arc;

use aws_lc_rs::digest;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::{access::Caller, text::canonical_json};
use tools::{CallContext, ErrorCode, Preview, ToolError};

type Handler<T> = Arc<dyn Fn(Value, CallContext) -> BoxFuture<'static, Result<T, ToolError>> + Send + Sync>;

/// What a plan is bound to besides arguments and state.
pub struct Scope<'a> {
    /// Uid of the connector.
    pub connector: &'a str,
    /// Who calls.
    pub caller: &'a Caller,
    /// The tool's name.
    pub tool: &'a str,
}

/// Says what would be done.
///
/// # Errors
/// When the tool fails.
pub async fn announce(
    scope: &Scope<'_>,
    arguments: Value,
    context: CallContext,
    preview: &Handler<Preview>,
) -> Result<Value, ToolError> {
    let announced = preview(arguments.clone(), context).await?;
    let plan = build_plan(scope, &arguments, &announced.state);
    Ok(json!({ "applied": false, "would": announced.would, "plan": plan, "state": announced.state }))
}

/// Makes sure that the state is the one that a plan was made on.
///
/// # Errors
/// When it is another one, or when the tool fails. Either way nothing was done.
pub async fn verify(
    scope: &Scope<'_>,
    plan: &str,
    arguments: &Value,
    context: CallContext,
    preview: &Handler<Preview>,
) -> Result<(), ToolError> {
    let announced = preview(arguments.clone(), context).await?;
    if plan == build_plan(scope, arguments, &announced.state) {
        return Ok(());
    }
    let message = "the plan doesn't match: the state, the arguments or the caller are not those it was made for; \
                   nothing was done";
    let remedy = "call again without confirm to see what would be done now";
    Err(ToolError::new(ErrorCode::Conflict, message).with_remedy(remedy).with_argument("/plan"))
}

/// Does it.
///
/// # Errors
/// When the tool fails.
pub async fn act(arguments: Value, context: CallContext, act: &Handler<Value>) -> Result<Value, ToolError> {
    Ok(json!({ "applied": true, "result": act(arguments, context).await? }))
}

/// Names what would be done by 128 bits of a SHA-256. Every replica computes the same.
fn build_plan(scope: &Scope<'_>, arguments: &Value, state: &Value) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let parts = [
        scope.connector.to_owned(),
        scope.caller.to_string(),
        scope.tool.to_owned(),
        canonical_json(arguments),
        canonical_json(state),
    ];
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    hex::encode(context.finish().as_ref()).chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::ServiceAccount;

    #[test]
    fn a_plan_is_bound_to_all_it_is_about() {
        let account = |name: &str| {
            Caller::ServiceAccount(ServiceAccount { namespace: "agents".to_owned(), name: name.to_owned() })
        };
        let plan = |connector: &str, caller: &Caller, tool: &str, arguments: Value, state: Value| {
            build_plan(&Scope { connector, caller, tool }, &arguments, &state)
        };
        let base = plan("uid", &account("a"), "tool", json!({"x": 1, "y": 2}), json!({"version": 1}));
        assert_eq!(base, plan("uid", &account("a"), "tool", json!({"y": 2, "x": 1}), json!({"version": 1})));
        for other in [
            plan("uid2", &account("a"), "tool", json!({"x": 1, "y": 2}), json!({"version": 1})),
            plan("uid", &account("b"), "tool", json!({"x": 1, "y": 2}), json!({"version": 1})),
            plan("uid", &account("a"), "tool2", json!({"x": 1, "y": 2}), json!({"version": 1})),
            plan("uid", &account("a"), "tool", json!({"x": 1}), json!({"version": 1})),
            plan("uid", &account("a"), "tool", json!({"x": 1, "y": 2}), json!({"version": 2})),
        ] {
            assert_ne!(base, other);
        }
        assert_eq!(base.len(), 32);
    }
}
