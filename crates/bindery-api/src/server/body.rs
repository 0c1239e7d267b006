//! Reading the body of a request.

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap};

use super::{Asked, Server};
use crate::call::Handler;
use crate::operations::Body;
use crate::problem::Problem;

/// Bytes of a body that comes without a key.
const OPEN_BODY_BYTES_MAX: usize = 4 * 1024;

impl Server {
    pub(super) async fn read_body(
        &self,
        asked: &Asked<'_>,
        request: Request<Incoming>,
    ) -> Result<Bytes, Problem> {
        let operation = asked.operation;
        let says_json = require_json(request.headers());
        if operation.body == Body::Json {
            says_json.clone()?;
        }
        let max = match operation.handler {
            // Nobody knows yet who it is.
            Handler::Open(_) => OPEN_BODY_BYTES_MAX,
            _ => self.limits.body_bytes_max,
        };
        // What is announced to be too large isn't even asked for.
        if request.body().size_hint().lower() > u64::try_from(max).unwrap_or(u64::MAX) {
            return Err(Problem::too_large(max));
        }
        let body = Limited::new(request.into_body(), max).collect();
        match tokio::time::timeout(self.limits.body_timeout, body).await {
            Err(_) => Err(Problem::too_slow()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(max)),
            Ok(Err(_)) => Err(Problem::invalid("the body broke off before its end")),
            Ok(Ok(body)) => match (operation.body, asked.took(body.to_bytes())) {
                (Body::Empty, _) => Ok(Bytes::new()),
                (Body::Json, body) => Ok(body),
                (Body::Optional, body) if body.is_empty() => Ok(body),
                (Body::Optional, body) => says_json.map(|()| body),
            },
        }
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let sent = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = sent.and_then(|sent| sent.split(';').next()).map(str::trim);
    match essence {
        Some(essence) if essence.eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(Problem::invalid(
            "send the body as JSON, with `Content-Type: application/json`",
        )),
    }
}
