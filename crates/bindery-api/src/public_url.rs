//! The public URL of this server, as its operator sets it. It is never taken from a request.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;

/// The start of every URL that this server hands out: `https://HOST[:PORT][/PATH]`, without a slash at the
/// end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    text: String,
    is_confidential: bool,
    has_path: bool,
}

/// Why a text is not such a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a URL that begins with http:// or https:// is expected, with a host and without user, query or fragment"
)]
pub struct PublicUrlError;

impl PublicUrl {
    /// Accepts `http://` and `https://`.
    pub fn parse(text: &str) -> Result<Self, PublicUrlError> {
        let uri: Uri = text.parse().map_err(|_| PublicUrlError)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(PublicUrlError);
        };
        let is_good = matches!(scheme, "http" | "https")
            && !authority.host().is_empty()
            && !authority.as_str().contains('@')
            && !text.contains(['?', '#']);
        if !is_good {
            return Err(PublicUrlError);
        }
        Ok(Self {
            text: text.trim_end_matches('/').to_owned(),
            is_confidential: scheme == "https" || is_this_machine(authority.host()),
            has_path: !uri.path().trim_matches('/').is_empty(),
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether requests to it can't be read on the way: `https`, or `http` to this machine.
    pub fn is_confidential(&self) -> bool {
        self.is_confidential
    }

    /// Whether AuthZEN metadata can be built from it.
    pub fn serves_metadata(&self) -> bool {
        self.decision_point().is_some()
    }

    /// The URL, if AuthZEN accepts it as the identifier of a decision point with its metadata directly below
    /// the host: `https`, or `http` to this machine, and no path.
    pub(crate) fn decision_point(&self) -> Option<&str> {
        (self.is_confidential && !self.has_path).then_some(self.as_str())
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether the host of a URL is this machine, by name or address.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_point_is_reached_safely_and_right_below_its_host() {
        for (text, expected) in [
            ("https://pdp.example.com", Some("https://pdp.example.com")),
            ("https://pdp.example.com/", Some("https://pdp.example.com")),
            (
                "https://pdp.example.com:8443",
                Some("https://pdp.example.com:8443"),
            ),
            ("http://127.0.0.1:8080", Some("http://127.0.0.1:8080")),
            ("http://[::1]:8080", Some("http://[::1]:8080")),
            ("http://localhost:8080/", Some("http://localhost:8080")),
            ("http://pdp.example.com", None),
            ("http://127.0.0.1.example.com", None),
            ("https://example.com/pdp", None),
        ] {
            let url = PublicUrl::parse(text).unwrap();
            assert_eq!(url.decision_point(), expected, "{text}");
        }
        for text in [
            "",
            "pdp.example.com",
            "/",
            "ftp://example.com",
            "https://",
            "https:///path",
            "https://user@example.com",
            "https://example.com?x",
            "https://example.com/#x",
            "https://exa mple.com",
        ] {
            assert_eq!(PublicUrl::parse(text), Err(PublicUrlError), "{text}");
        }
    }
}
