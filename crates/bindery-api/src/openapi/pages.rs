//! The pages without a key: `/openapi.json`, `/docs` with its files, and `/welcome`, where links in e-mails
//! lead. Nothing is loaded from another host, and headers tell the browser to enforce that.

use std::fmt::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::openapi::openapi_json;
use crate::problem::Problem;

/// Scripts, styles and requests of this host only. The renderer sets styles on its elements and draws icons
/// from `data:`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Page {
    path: &'static str,
    content_type: &'static str,
    content: &'static [u8],
    entity_tag: String,
}

static PAGES: LazyLock<[Page; 9]> = LazyLock::new(|| {
    let page = |path, content_type, content: &'static [u8]| Page {
        path,
        content_type,
        content,
        entity_tag: entity_tag(content),
    };
    let html = "text/html; charset=utf-8";
    let script = "text/javascript; charset=utf-8";
    let style = "text/css; charset=utf-8";
    [
        page(
            "/openapi.json",
            "application/json",
            openapi_json().as_bytes(),
        ),
        page("/docs", html, include_bytes!("../../docs/index.html")),
        page(
            "/docs/page.js",
            script,
            include_bytes!("../../docs/page.js"),
        ),
        page(
            "/docs/page.css",
            style,
            include_bytes!("../../docs/page.css"),
        ),
        page(
            "/docs/swagger-ui-bundle.js",
            script,
            include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js")),
        ),
        page(
            "/docs/swagger-ui.css",
            style,
            include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css")),
        ),
        page("/welcome", html, include_bytes!("../../welcome/index.html")),
        page(
            "/welcome/page.js",
            script,
            include_bytes!("../../welcome/page.js"),
        ),
        page(
            "/welcome/page.css",
            style,
            include_bytes!("../../welcome/page.css"),
        ),
    ]
});

fn entity_tag(content: &[u8]) -> String {
    let mut tag = String::from("\"");
    for byte in Sha256::digest(content).iter().take(12) {
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}

/// The page at this path, if there is one.
pub(crate) fn answer(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Option<Result<Response<Full<Bytes>>, Problem>> {
    let page = PAGES.iter().find(|page| page.path == path)?;
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Some(Err(Problem::method_not_allowed("GET, HEAD")));
    }
    Some(Ok(page.render(headers)))
}

impl Page {
    fn render(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let is_known = headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|tag| tag.trim().trim_start_matches("W/") == self.entity_tag);
        let mut response = if is_known {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            Response::new(Full::from(self.content))
        };
        let answered = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, self.content_type),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            // Cached, and revalidated each time: an upgrade is visible at once.
            (header::CACHE_CONTROL, "no-cache"),
        ] {
            answered.insert(name, HeaderValue::from_static(value));
        }
        if let Ok(tag) = HeaderValue::from_str(&self.entity_tag) {
            answered.insert(header::ETAG, tag);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Response<Full<Bytes>> {
        answer(&Method::GET, path, &HeaderMap::new())
            .unwrap()
            .unwrap()
    }

    /// The values of `src` and `href` in a page.
    fn loaded(html: &str) -> Vec<&str> {
        let values = ["src=\"", "href=\""].map(|attribute| html.split(attribute).skip(1));
        let values = values.into_iter().flatten();
        values.map(|rest| rest.split('"').next().unwrap()).collect()
    }

    #[test]
    fn the_page_loads_only_what_this_server_serves() {
        let text = |path| {
            let page = PAGES.iter().find(|page| page.path == path).unwrap();
            std::str::from_utf8(page.content).unwrap()
        };
        let pages = [text("/docs"), text("/welcome")];
        let loaded: Vec<&str> = pages.into_iter().flat_map(loaded).collect();
        assert!(loaded.len() >= 7, "{loaded:?}");
        for reference in loaded {
            if reference == "data:," {
                continue;
            }
            // Relative, so that they also work behind a proxy that strips a prefix.
            assert!(!reference.starts_with('/'), "{reference}");
            let response = get(&format!("/{reference}"));
            assert_eq!(response.status(), 200, "{reference}");
            let expected = match reference.rsplit_once('.').map(|(_, end)| end) {
                Some("js") => "text/javascript; charset=utf-8",
                Some("css") => "text/css; charset=utf-8",
                Some("json") => "application/json",
                _ => "text/html; charset=utf-8",
            };
            assert_eq!(
                response.headers()[header::CONTENT_TYPE],
                expected,
                "{reference}"
            );
        }
        for path in [
            "/docs",
            "/docs/page.js",
            "/welcome",
            "/welcome/page.js",
            "/welcome/page.css",
        ] {
            let text = text(path);
            assert!(
                !text.contains("//cdn") && !text.contains("http:") && !text.contains("https:"),
                "{path}"
            );
        }
        assert!(text("/docs/page.js").contains("url: \"openapi.json\""));
        let page = text("/welcome/page.js");
        assert_eq!(page.matches("path: \"bindery/v1/").count(), 2);
        assert!(!page.contains("\"/"), "every path is relative");
    }

    #[test]
    fn every_page_keeps_the_browser_at_home() {
        for page in PAGES.iter() {
            let response = get(page.path);
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY]
                .to_str()
                .unwrap();
            assert!(
                policy.starts_with("default-src 'none'; script-src 'self';"),
                "{policy}"
            );
            assert!(
                !policy.contains("http") && !policy.contains('*'),
                "{policy}"
            );
            assert_eq!(
                response.headers()[header::X_CONTENT_TYPE_OPTIONS],
                "nosniff"
            );
            assert!(!page.content.is_empty(), "{}", page.path);
        }
    }

    #[test]
    fn what_a_browser_has_already_is_not_sent_again() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::IF_NONE_MATCH,
            get("/docs").headers()[header::ETAG].clone(),
        );
        let response = answer(&Method::GET, "/docs", &headers).unwrap().unwrap();
        assert_eq!(response.status(), 304);
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"other\""));
        let response = answer(&Method::GET, "/docs", &headers).unwrap().unwrap();
        assert_eq!(response.status(), 200);
        assert!(answer(&Method::GET, "/docs/", &headers).is_none());
        assert!(answer(&Method::POST, "/docs", &headers).unwrap().is_err());
        assert!(answer(&Method::HEAD, "/docs", &headers).unwrap().is_ok());
    }
}
