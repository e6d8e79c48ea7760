//! Arguments that are for the guards and not for the tool. The catalogue adds them to a tool's schema; here they are taken
//! out again before the tool sees the call.

use serde_json::{Map, Value};

use super::{
    call_key::{CallKey, CallKeys},
    idempotency::Attempt,
    principal::Principal,
};
use crate::catalogue::{CACHE, CONFIRM, IDEMPOTENCY_KEY, OfferedTool, PLAN};

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
    pub fn attempt(&self, keys: &CallKeys, principal: &Principal, tool: &OfferedTool, call: CallKey) -> Attempt {
        let key = match &self.idempotency_key {
            Some(named) => keys.of_name(principal, &tool.definition.name, named),
            None => keys.derive(call, &["act", self.plan.as_deref().unwrap_or_default()]),
        };
        Attempt {
            caller: principal.key(),
            key,
            call,
            named: self.idempotency_key.is_some(),
            repeatable: self.plan.is_some() || tool.entry.declaration.idempotent,
        }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{access::Access, catalogue::Catalogue, testing};

    fn taken(tool: &str, mut arguments: Value) -> (Controls, Value) {
        let access = Access::new(&testing::config().access);
        let entries = testing::FakePlatform::default().entries();
        let catalogue = Catalogue::new(entries, &testing::tools_config(), &access, true).unwrap();
        let controls = Controls::take(catalogue.get(tool).unwrap(), &mut arguments);
        (controls, arguments)
    }

    #[test]
    fn a_tool_never_sees_what_is_not_for_it() {
        let said = json!({"name": "a", "confirm": true, "plan": "p", "idempotency_key": "k"});
        let (controls, left) = taken("delete_fake_thing", said);
        let expected =
            Controls { confirm: true, plan: Some("p".to_owned()), idempotency_key: Some("k".to_owned()), fresh: false };
        assert_eq!((controls, left), (expected, json!({"name": "a"})));
        let (controls, left) = taken("echo_fake_text", json!({"text": "a", "cache": false}));
        assert_eq!((controls, left), (Controls { fresh: true, ..Controls::default() }, json!({"text": "a"})));
        // A tool without them may have such arguments of its own.
        let own = json!({"name": "a", "cache": false, "confirm": true});
        assert_eq!(taken("get_fake_thing", own.clone()), (Controls::default(), own));
    }

    #[test]
    fn acts_with_names_or_plans_of_their_own_are_no_repetition() {
        let keys = CallKeys::default();
        let call = keys.of_call(&Principal::Address(None), "tool", &json!({}));
        let key = |plan: Option<&str>, name: Option<&str>| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            let controls = Controls { confirm: true, plan: text(plan), idempotency_key: text(name), fresh: false };
            controls.repeat_key(&keys, call)
        };
        assert_eq!(key(None, Some("a")), key(None, Some("a")));
        let others = [key(None, None), key(Some("a"), None), key(None, Some("a")), key(None, Some("b")), call];
        for (index, other) in others.iter().enumerate() {
            assert!(!others[index + 1..].contains(other), "{index}");
        }
        let fresh = Controls { fresh: true, ..Controls::default() };
        assert_eq!(fresh.repeat_key(&keys, call), call);
    }
}
