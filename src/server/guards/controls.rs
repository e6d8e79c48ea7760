//! Arguments that are for the guards and not for the tool. The catalogue adds them to a tool's schema; here they are taken
//! out again before the tool sees the call.

use serde_json::{Map, Value};

use super::{
    call_key::{CallKey, CallKeys},
    idempotency::Attempt,
    principal::Principal,
};
use crate::server::catalogue::{CACHE, CONFIRM, IDEMPOTENCY_KEY, OfferedTool, PLAN};

/// What a caller said to the guards.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// Whether a tool that changes something is to do it.
    pub confirm: bool,
    /// What was announced, and is to be done.
    pub plan: Option<String>,
    /// What the caller calls this one act, so that it is not done twice.
    pub idempotency_key: Option<String>,
    /// Whether a kept answer will not do.
    pub fresh: bool,
}

impl Controls {
    /// Takes them out of arguments that fit the tool's schema.
    #[must_use]
    pub fn take(tool: &OfferedTool, arguments: &mut Value) -> Self {
        let mut controls = Self::default();
        let Value::Object(map) = arguments else {
            return controls;
        };
        if tool.confirmed {
            controls.confirm = is(map, CONFIRM, true);
            controls.plan = text(map, PLAN);
            controls.idempotency_key = text(map, IDEMPOTENCY_KEY);
        }
        if tool.kept_for.is_some() {
            controls.fresh = is(map, CACHE, false);
        }
        controls
    }

    /// The key by which a call counts as a repetition of another. Asking for a fresh answer is no other call.
    #[must_use]
    pub fn repeat_key(&self, keys: &CallKeys, call: CallKey) -> CallKey {
        if !self.confirm {
            return call;
        }
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        keys.derive(call, &["confirm", &text(&self.plan), &text(&self.idempotency_key)])
    }

    /// How an act is looked up: by the key that its caller gave, or else by all that it is.
    #[must_use]
    pub fn attempt(&self, keys: &CallKeys, principal: &Principal, tool: &str, call: CallKey) -> Attempt {
        let key = match &self.idempotency_key {
            Some(named) => keys.of_name(principal, tool, named),
            None => keys.derive(call, &["act", self.plan.as_deref().unwrap_or_default()]),
        };
        Attempt { key, call, named: self.idempotency_key.is_some(), planned: self.plan.is_some() }
    }
}

fn is(map: &mut Map<String, Value>, name: &str, wanted: bool) -> bool {
    map.remove(name) == Some(Value::Bool(wanted))
}

fn text(map: &mut Map<String, Value>, name: &str) -> Option<String> {
    match map.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}
