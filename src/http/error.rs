//! From what went wrong to what is sent: the only such place.
//!
//! On a worker's path, trouble of our own is never JSON: a JSON `error` makes a worker quit, drop its task or lose its
//! games, while a body that isn't JSON makes it try again (`spec/worker-api.md` section 7; architecture, section 7).

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder};

use super::body::BodyError;
use super::object::{Began, Object};
use super::worker_api::Answer;
use crate::service::ServiceError;

/// Media type of everything that isn't a file or a page.
pub const JSON: &str = "application/json";

/// Media type of what isn't JSON on purpose.
const TEXT: &str = "text/plain; charset=utf-8";

/// When to try again, seconds. Workers have their own idea of that.
const RETRY_AFTER: &str = "5";

/// What a worker gets to hear of an error.
pub fn worker_error(path: &str, error: ServiceError, began: Began) -> Answer {
    let status = match &error {
        ServiceError::Invalid(_) | ServiceError::NotFound(_) => StatusCode::BAD_REQUEST,
        ServiceError::Refused(_) => StatusCode::UNAUTHORIZED,
        ServiceError::Busy(why) | ServiceError::Unavailable(why) => {
            tracing::warn!(path, why, "a worker must try again");
            return Answer::TryAgain;
        }
        // The committer, or the membership, has said it once; thousands of workers would say it again and again.
        ServiceError::NotDurable(why) | ServiceError::Outdated(why) | ServiceError::Superseded(why) => {
            tracing::debug!(path, why, "a worker must try again");
            return Answer::TryAgain;
        }
        ServiceError::Bug(what) => {
            tracing::error!(path, what, "the server contradicts itself");
            return Answer::TryAgain;
        }
    };
    // A message's own text, without the class that its display form may add.
    Answer::Json(status, error_object(path, &error.to_string(), began))
}

/// `{"error": "{path}: {text}", "duration": s}`
pub fn error_object(path: &str, text: &str, began: Began) -> Vec<u8> {
    Object::new().value("error", &format!("{path}: {text}")).duration(began)
}

/// A worker's request that can't be carried out now.
pub fn try_again() -> HttpResponse {
    HttpResponse::ServiceUnavailable()
        .insert_header((header::RETRY_AFTER, RETRY_AFTER))
        .content_type(TEXT)
        .body("The server can't answer now. Please try again.\n")
}

/// Everything while the server stops.
pub fn closing() -> HttpResponse {
    HttpResponse::ServiceUnavailable()
        .insert_header((header::RETRY_AFTER, RETRY_AFTER))
        .content_type(TEXT)
        .force_close()
        .finish()
}

/// A head that is larger than anybody needs.
pub fn large_head() -> HttpResponse {
    HttpResponse::build(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        .content_type(TEXT)
        .force_close()
        .body("the head of the request is too large\n")
}

/// A body that wasn't read to its end; the connection can't be used any more.
pub fn bad_body(error: BodyError) -> HttpResponse {
    let status = match error {
        BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::Late => StatusCode::REQUEST_TIMEOUT,
        BodyError::Broken => StatusCode::BAD_REQUEST,
        BodyError::NoMemory => return try_again(),
    };
    HttpResponse::build(status).content_type(TEXT).force_close().body(format!("{error}\n"))
}

/// What the public gets to hear of an error.
pub fn read_error(path: &str, error: ServiceError, began: Began) -> HttpResponse {
    let status = match &error {
        ServiceError::Invalid(_) => StatusCode::BAD_REQUEST,
        ServiceError::Refused(_) => StatusCode::UNAUTHORIZED,
        ServiceError::NotFound(_) => StatusCode::NOT_FOUND,
        ServiceError::Busy(why)
        | ServiceError::Unavailable(why)
        | ServiceError::Outdated(why)
        | ServiceError::Superseded(why)
        | ServiceError::NotDurable(why) => {
            tracing::warn!(path, why, "a read can't be answered now");
            return read_unavailable(path, "the server can't answer now", began);
        }
        ServiceError::Bug(what) => {
            tracing::error!(path, what, "the server contradicts itself");
            return read_failed();
        }
    };
    json(&mut HttpResponse::build(status), error_object(path, &error.to_string(), began))
}

/// A read for which there is no room, or no answer yet.
pub fn read_unavailable(path: &str, why: &str, began: Began) -> HttpResponse {
    let mut response = HttpResponse::ServiceUnavailable();
    response.insert_header((header::RETRY_AFTER, RETRY_AFTER));
    json(&mut response, error_object(path, why, began))
}

/// Too many reads from one address.
pub fn too_many(path: &str, began: Began) -> HttpResponse {
    let mut response = HttpResponse::TooManyRequests();
    response.insert_header((header::RETRY_AFTER, "1"));
    json(&mut response, error_object(path, "Too many requests", began))
}

/// A read that failed for a reason nobody foresaw.
pub fn read_failed() -> HttpResponse {
    HttpResponse::InternalServerError().content_type(JSON).body(r#"{"detail":"Internal Server Error"}"#)
}

/// A response with a JSON body.
pub fn json(response: &mut HttpResponseBuilder, body: impl Into<bytes::Bytes>) -> HttpResponse {
    response.content_type(JSON).body(body.into())
}
