//! Turns an outcome into a response.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use super::Server;
use crate::answer::Answer;
use crate::memory_budget::{Owner, Reserved};
use crate::operation::Operation;
use crate::problem::Problem;

/// Bytes of a response that count as a part of its connection, not to the memory for responses.
const ANSWER_UNCOUNTED_BYTES: usize = 16 * 1024;

impl Server {
    /// The response, which takes memory until its client has read it.
    pub(super) fn render(
        &self,
        operation: &Operation,
        owner: Owner,
        mut answer: Answer,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        let json = answer.json.take();
        let has_body = json.is_some();
        let json = json.unwrap_or_default();
        let content = if json.len() > ANSWER_UNCOUNTED_BYTES {
            let mut reserved = Reserved::none(&self.answer_memory, owner);
            if operation.is_change() {
                // A change is made already, so its response can't be refused any more.
                reserved.force_to(json.capacity());
            } else {
                reserved
                    .grow_to(json.capacity())
                    .map_err(Problem::no_memory_for_answer)?;
            }
            reserved.attach(json)
        } else {
            Bytes::from(json)
        };
        Ok(render(
            operation.success,
            &answer,
            has_body.then_some(content),
        ))
    }
}

fn render(success: u16, answer: &Answer, content: Option<Bytes>) -> Response<Full<Bytes>> {
    let status = answer
        .status
        .or_else(|| StatusCode::from_u16(success).ok())
        .unwrap_or_default();
    let has_body = content.is_some();
    let mut response = Response::new(Full::new(content.unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if has_body {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
    }
    // Responses are about who may do what, and some carry a secret: no cache may keep them.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
