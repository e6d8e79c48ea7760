//! Bodies of HTML forms, for platforms that take what changes something only in that form.

use bytes::Bytes;
use http::{HeaderValue, header::CONTENT_TYPE};
use url::form_urlencoded;

use super::Request;

impl Request {
    /// Sets the body to a form's fields, as a browser would send them.
    #[must_use]
    pub fn form<'a>(mut self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body = Some(Bytes::from(body));
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        self
    }
}
