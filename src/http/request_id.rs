//! A name for each request, by which its lines in logs, its trace and its answer belong together: the client's or the
//! balancer's own, if it is fit for a log, else a new one.

use std::borrow::Cow;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};

use crate::sys::random;

/// The header, in requests and in answers.
const HEADER: &str = "x-request-id";

/// Longest name that is taken over.
const LONGEST: usize = 64;

/// The request's name.
pub fn of(request: &HttpRequest) -> Cow<'_, str> {
    let sent = request.headers().get(HEADER).and_then(|value| value.to_str().ok());
    match sent.filter(|sent| is_sane(sent)) {
        Some(sent) => sent.into(),
        None => format!("{:016x}", random::write_id().0).into(),
    }
}

/// Names the request in its answer.
pub fn echo(response: &mut HttpResponse, id: &str) {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(HeaderName::from_static(HEADER), value);
    }
}

/// Nothing that could pass for another line, another field or an end.
fn is_sane(id: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=LONGEST).contains(&id.len()) && id.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_sane_name_is_kept_and_another_replaced() {
        let long = "a".repeat(65);
        for (sent, kept) in [
            ("4bf92f35-77b3", true),
            ("A.b_c", true),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            (long.as_str(), false),
        ] {
            let request = TestRequest::default().insert_header((HEADER, sent)).to_http_request();
            let id = of(&request);
            assert_eq!(id == sent, kept, "{sent:?}");
            assert!(is_sane(&id));
        }
        let none = TestRequest::default().to_http_request();
        assert_ne!(of(&none), of(&none));
    }
}
