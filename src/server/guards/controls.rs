//! Arguments that are for the guards and not for the tool. The catalogue adds them to a tool's schema; here they are taken
//! out again before the tool sees the call.

use serde_json::{Map, Value};

use super::call_key::{CallKey, CallKeys};
use crate::server::catalogue::{CACHE, CONFIRM, OfferedTool, PLAN};

/// What a caller said to the guards.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// Whether a tool that changes something is to do it.
    pub confirm: bool,
    /// What was announced, and is to be done.
    pub plan: Option<String>,
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
        keys.derive(call, &["confirm", self.plan.as_deref().unwrap_or_default()])
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
