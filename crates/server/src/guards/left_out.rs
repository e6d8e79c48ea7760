//! What of the platform's answers could not be read, as a hint of the tool's own answer: what is told is then not all.

use serde_json::{Value, json};

/// Does something for a tool, and adds the hint to what it answers.
///
/// # Errors
/// Those of `work`.
pub async fn told<E>(work: impl Future<Output = Result<Value, E>>) -> Result<Value, E> {
    let (outcome, places) = outbound::decode::noting(work).await;
    outcome.map(|answer| with_hint(answer, &places))
}

fn with_hint(mut answer: Value, places: &[String]) -> Value {
    if let (Value::Object(fields), false) = (&mut answer, places.is_empty()) {
        let hint = format!(
            "left out, because this version can't read its form in the platform's answer: {}",
            places.join(", ")
        );
        match fields.entry("hints").or_insert_with(|| json!([])) {
            Value::Array(hints) => hints.push(hint.into()),
            other => *other = json!([hint]),
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Odd {
        #[serde(default)]
        names: Vec<String>,
    }

    async fn answer(body: &str, answer: Value) -> Value {
        let work = async {
            let odd: Odd = outbound::decode::decode(body.as_bytes())?;
            Ok::<_, outbound::RequestError>(json!({ "names": odd.names, "other": answer }))
        };
        told(work).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_left_out_is_a_hint_of_the_answer() {
        let told = answer(r#"{"names": ["a", {}]}"#, Value::Null).await;
        assert_eq!(told["names"], json!(["a"]));
        assert_eq!(told["hints"].as_array().map(Vec::len), Some(1));
        assert!(told["hints"][0].as_str().unwrap().ends_with("answer: names[]"), "{told}");
        let whole = answer(r#"{"names": ["a"]}"#, Value::Null).await;
        assert!(whole.get("hints").is_none(), "{whole}");
    }

    #[test]
    fn hints_of_the_tool_stay() {
        let both = with_hint(json!({ "hints": ["its own"] }), &["a".to_owned()]);
        assert_eq!(both["hints"].as_array().map(Vec::len), Some(2));
        assert_eq!(with_hint(json!([1]), &["a".to_owned()]), json!([1]));
    }
}
