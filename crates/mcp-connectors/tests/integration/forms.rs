//! The forms in which a credential can stand in a text.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};

/// How a text can stand in another one: plainly, in a URL, in hex, and in Base64 from any byte on.
pub fn forms(secret: &str) -> Vec<String> {
    let encoded = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut forms = vec![secret.to_owned(), encoded, hex::encode(secret), hex::encode_upper(secret)];
    for skipped in 0..3 {
        // Three bytes are four characters; what stands before and behind changes those at the edges.
        let inner = &secret.as_bytes()[skipped..];
        let whole = &inner[..inner.len() / 3 * 3];
        forms.push(BASE64_STANDARD_NO_PAD.encode(whole));
        forms.push(BASE64_URL_SAFE_NO_PAD.encode(whole));
    }
    forms
}

/// The line of a text that holds a credential, and the form that it has there.
pub fn leak<'a>(text: &'a str, secret: &str) -> Option<(String, &'a str)> {
    let form = forms(secret).into_iter().find(|form| text.contains(form))?;
    let line = text.lines().find(|line| line.contains(&form))?;
    Some((form, line))
}
