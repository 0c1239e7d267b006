//! Finds where requests begin and end in the bytes of a connection, before hyper parses them. Pure: bytes in,
//! a verdict out.
//!
//! hyper and httparse accept some ambiguous requests (a bare line feed as a line end, `Content-Length` beside
//! `Transfer-Encoding`). A proxy in front may read them differently: that is how requests are smuggled. Here
//! every request has exactly one reading, or is refused. hyper then parses the same bytes, so its checks of
//! names, values and the URI still apply.

use crate::problem::Problem;

/// Bytes of the head of a request, including its request line and the empty line at its end.
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Bytes of the line before a chunk: its size and extensions.
const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Digits of the size of a chunk.
const CHUNK_DIGITS_MAX: usize = 8;
/// Digits of a `Content-Length`.
const LENGTH_DIGITS_MAX: usize = 18;

/// Why a request is refused before it is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A line that doesn't end with CR LF, or a CR or LF within a line.
    LineEnd,
    /// Neither a request line nor a header, or a header that continues in the next line.
    Line,
    /// No `Host`, or several.
    Hosts(usize),
    /// A `Host` that is not a host.
    Host,
    /// Several `Content-Length`.
    Lengths,
    /// A `Content-Length` that is not a number.
    Length,
    /// A `Transfer-Encoding` other than `chunked` alone.
    Encoding,
    /// `Content-Length` and `Transfer-Encoding`.
    LengthAndEncoding,
    /// `Transfer-Encoding` before HTTP/1.1.
    EncodingTooEarly,
    /// A chunk with a malformed size or end.
    Chunk,
    /// Headers after the last chunk.
    Trailer,
    /// A request line of more than [`HEAD_BYTES_MAX`].
    LongLine,
    /// A head of more than [`HEAD_BYTES_MAX`].
    LargeHead,
    /// No memory is left for more of it.
    NoMemory,
}

impl Refused {
    pub(crate) fn problem(self) -> Problem {
        let detail = match self {
            Self::LineEnd => {
                "end each line of the request with CR LF, and have neither CR nor LF within a line"
            }
            Self::Line => "send a request line and then one header a line, as `Name: value`",
            Self::Hosts(0) => "`Host` is missing; send it once",
            Self::Hosts(_) => "`Host` is there more than once; send it once",
            Self::Host => "`Host` is neither a host nor a host with a port",
            Self::Lengths => "`Content-Length` is there more than once; send it once",
            Self::Length => "`Content-Length` is not a number of bytes in digits",
            Self::Encoding => "`Transfer-Encoding`: only `chunked` is accepted, once",
            Self::LengthAndEncoding => {
                "send either `Content-Length` or `Transfer-Encoding`, not both"
            }
            Self::EncodingTooEarly => "`Transfer-Encoding` needs HTTP/1.1",
            Self::Chunk => {
                "a chunk of the body is malformed: send its size in hexadecimal digits, CR LF, its bytes, CR LF"
            }
            Self::Trailer => "headers behind a chunked body are not accepted; send them before it",
            Self::LongLine => return Problem::long_uri(HEAD_BYTES_MAX),
            Self::LargeHead => return Problem::large_head(HEAD_BYTES_MAX),
            Self::NoMemory => return Problem::no_memory_for_heads(),
        };
        Problem::invalid(detail)
    }
}

/// What to do with the next bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This many bytes, at least one, are a whole head or a part of a body.
    Pass(usize),
    /// The head is incomplete.
    Incomplete,
    /// The connection can't be used any more.
    Refuse(Refused),
}

/// The position in the bytes of a connection.
#[derive(Debug)]
pub(crate) struct Framing {
    place: Place,
    /// In a head: where its current line begins, and how far that line was searched for its end.
    line: usize,
    searched: usize,
    /// Bytes of the previous head.
    last_head: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Head,
    /// This many bytes of the body are left.
    Body(u64),
    /// In the line before a chunk, with the size and number of digits so far, and whether the digits are
    /// over.
    ChunkLine {
        size: u64,
        digits: usize,
        length: usize,
        in_extension: bool,
    },
    /// The line feed of that line is next.
    ChunkLineEnd(u64),
    /// This many bytes of a chunk are left.
    ChunkData(u64),
    /// The CR LF after the bytes of a chunk, or after the last chunk.
    ChunkCr {
        is_last: bool,
    },
    ChunkLf {
        is_last: bool,
    },
    Refused,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Length(u64),
    Chunked,
}

impl Framing {
    pub(crate) const fn new() -> Self {
        Self {
            place: Place::Head,
            line: 0,
            searched: 0,
            last_head: 0,
        }
    }

    /// Whether the next byte is the first of a request.
    pub(crate) fn is_between_requests(&self) -> bool {
        self.place == Place::Head && self.searched == 0
    }

    /// Whether the next byte belongs to a head.
    pub(crate) fn is_in_head(&self) -> bool {
        self.place == Place::Head
    }

    /// The size of the last whole head, in bytes.
    pub(crate) const fn last_head(&self) -> usize {
        self.last_head
    }

    /// Judges `bytes`, which continue after the last `Pass`. After `Incomplete` they begin with the same
    /// bytes again.
    pub(crate) fn judge(&mut self, bytes: &[u8]) -> Verdict {
        let verdict = match self.place {
            Place::Head => self.judge_head(bytes),
            Place::Refused => Verdict::Incomplete,
            _ => self.judge_body(bytes),
        };
        if matches!(verdict, Verdict::Refuse(_)) {
            self.place = Place::Refused;
        }
        verdict
    }

    fn judge_head(&mut self, bytes: &[u8]) -> Verdict {
        // A client that speaks TLS would wait for a response to its first bytes.
        if let Some(first) = bytes.first()
            && !(first.is_ascii_graphic() || matches!(first, b'\r' | b'\n'))
        {
            return Verdict::Refuse(Refused::Line);
        }
        while let Some(found) = bytes
            .get(self.searched..)
            .and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
        {
            let end = self.searched + found + 1;
            let line = &bytes[self.line..end];
            let Some((b'\r', text)) = line[..line.len() - 1].split_last() else {
                return Verdict::Refuse(Refused::LineEnd);
            };
            if end > HEAD_BYTES_MAX {
                return Verdict::Refuse(self.too_much());
            }
            // One empty line before a request is ignored (RFC 9112, 2.2).
            let is_end = text.is_empty() && self.line > 2;
            if text.is_empty() && self.line == 2 {
                return Verdict::Refuse(Refused::Line);
            }
            self.line = end;
            self.searched = end;
            if is_end {
                return self.end_head(&bytes[..end]);
            }
        }
        self.searched = bytes.len();
        if bytes.len() >= HEAD_BYTES_MAX {
            return Verdict::Refuse(self.too_much());
        }
        Verdict::Incomplete
    }

    const fn too_much(&self) -> Refused {
        if self.line <= 2 {
            Refused::LongLine
        } else {
            Refused::LargeHead
        }
    }

    fn end_head(&mut self, head: &[u8]) -> Verdict {
        self.line = 0;
        self.searched = 0;
        self.last_head = head.len();
        match body_of(head) {
            Ok(body) => {
                self.place = match body {
                    Body::Length(0) => Place::Head,
                    Body::Length(length) => Place::Body(length),
                    Body::Chunked => CHUNK_LINE,
                };
                Verdict::Pass(head.len())
            }
            Err(refused) => Verdict::Refuse(refused),
        }
    }

    fn judge_body(&mut self, bytes: &[u8]) -> Verdict {
        let mut passed = 0;
        while let Some(rest) = bytes.get(passed..).filter(|rest| !rest.is_empty()) {
            let available = u64::try_from(rest.len()).unwrap_or(u64::MAX);
            match self.place {
                Place::Body(left) | Place::ChunkData(left) => {
                    let taken = left.min(available);
                    passed += usize::try_from(taken).unwrap_or(rest.len());
                    self.place = match (self.place, left - taken) {
                        (Place::Body(_), 0) => Place::Head,
                        (Place::Body(_), left) => Place::Body(left),
                        (_, 0) => Place::ChunkCr { is_last: false },
                        (_, left) => Place::ChunkData(left),
                    };
                }
                Place::Head | Place::Refused => break,
                place => match next_of_chunk(place, rest[0]) {
                    Ok(next) => {
                        passed += 1;
                        self.place = next;
                    }
                    // Pass on the good bytes before it first.
                    Err(_) if passed > 0 => break,
                    Err(refused) => return Verdict::Refuse(refused),
                },
            }
        }
        Verdict::Pass(passed)
    }
}

const CHUNK_LINE: Place = Place::ChunkLine {
    size: 0,
    digits: 0,
    length: 0,
    in_extension: false,
};

/// The next place after a byte around the data of chunks.
fn next_of_chunk(place: Place, byte: u8) -> Result<Place, Refused> {
    match (place, byte) {
        (Place::ChunkLine { digits: 0, .. }, byte) if !byte.is_ascii_hexdigit() => {
            Err(Refused::Chunk)
        }
        (Place::ChunkLine { size, .. }, b'\r') => Ok(Place::ChunkLineEnd(size)),
        (Place::ChunkLine { .. }, b'\n') => Err(Refused::LineEnd),
        (Place::ChunkLine { length, .. }, _) if length >= CHUNK_LINE_BYTES_MAX => {
            Err(Refused::Chunk)
        }
        (
            Place::ChunkLine {
                size,
                digits,
                length,
                in_extension: false,
            },
            byte,
        ) if byte.is_ascii_hexdigit() => {
            let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
            if digits >= CHUNK_DIGITS_MAX {
                return Err(Refused::Chunk);
            }
            Ok(Place::ChunkLine {
                size: size * 16 + digit,
                digits: digits + 1,
                length: length + 1,
                in_extension: false,
            })
        }
        (
            Place::ChunkLine {
                size,
                digits,
                length,
                in_extension,
            },
            byte,
        ) if (in_extension || byte == b';') && (byte == b'\t' || (b' '..127).contains(&byte)) => {
            Ok(Place::ChunkLine {
                size,
                digits,
                length: length + 1,
                in_extension: true,
            })
        }
        (Place::ChunkLineEnd(0), b'\n') => Ok(Place::ChunkCr { is_last: true }),
        (Place::ChunkLineEnd(size), b'\n') => Ok(Place::ChunkData(size)),
        (Place::ChunkCr { is_last }, b'\r') => Ok(Place::ChunkLf { is_last }),
        (Place::ChunkLf { is_last: false }, b'\n') => Ok(CHUNK_LINE),
        (Place::ChunkLf { is_last: true }, b'\n') => Ok(Place::Head),
        (Place::ChunkCr { is_last: true }, b'\n') | (Place::ChunkLineEnd(_), _) => {
            Err(Refused::LineEnd)
        }
        (Place::ChunkCr { is_last: true }, _) => Err(Refused::Trailer),
        _ => Err(Refused::Chunk),
    }
}

/// What follows a head whose lines all end with CR LF.
fn body_of(head: &[u8]) -> Result<Body, Refused> {
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let request_line = lines.find(|line| !line.is_empty()).unwrap_or_default();
    if request_line.contains(&b'\r') {
        return Err(Refused::LineEnd);
    }
    let is_old = request_line.ends_with(b" HTTP/1.0");
    let (mut hosts, mut length, mut is_chunked) = (0_usize, None, false);
    for line in lines.take_while(|line| !line.is_empty()) {
        if line.contains(&b'\r') {
            return Err(Refused::LineEnd);
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Err(Refused::Line);
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        // A line that begins with a space continues the previous one, and a space before the colon hides a
        // name.
        if name.is_empty() || name.iter().any(|byte| *byte <= b' ') {
            return Err(Refused::Line);
        }
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
            if !is_host(value) {
                return Err(Refused::Host);
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let number = parse_length(value).ok_or(Refused::Length)?;
            if length.replace(number).is_some() {
                return Err(Refused::Lengths);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refused::Encoding);
            }
            is_chunked = true;
        }
    }
    if hosts > 1 || (hosts == 0 && !is_old) {
        return Err(Refused::Hosts(hosts));
    }
    match (is_chunked, length) {
        (true, Some(_)) => Err(Refused::LengthAndEncoding),
        (true, None) if is_old => Err(Refused::EncodingTooEarly),
        (true, None) => Ok(Body::Chunked),
        (false, length) => Ok(Body::Length(length.unwrap_or(0))),
    }
}

fn parse_length(value: &[u8]) -> Option<u64> {
    let is_number =
        (1..=LENGTH_DIGITS_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    is_number.then(|| {
        value
            .iter()
            .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    })
}

/// Whether this may be a host with or without a port (RFC 9112, 3.2); it may be empty. A comma is refused: a
/// name may have one, but it also joins two `Host` headers into one.
fn is_host(value: &[u8]) -> bool {
    value
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=:%[]".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges all bytes as they arrive, this many at a time. Returns the lengths of what passes together, and
    /// the refusal.
    fn judge(bytes: &[u8], at_once: usize) -> (usize, bool, Option<Refused>) {
        let mut framing = Framing::new();
        let (mut passed, mut arrived) = (0, 0);
        while arrived < bytes.len() {
            arrived = (arrived + at_once).min(bytes.len());
            while passed < arrived {
                match framing.judge(&bytes[passed..arrived]) {
                    Verdict::Pass(count) => {
                        assert!(count > 0);
                        passed += count;
                    }
                    Verdict::Incomplete => break,
                    Verdict::Refuse(refused) => return (passed, false, Some(refused)),
                }
            }
        }
        (passed, framing.is_between_requests(), None)
    }

    fn check(text: &str, expected: (usize, bool, Option<Refused>)) {
        for at_once in [1, 2, 3, 7, 100_000] {
            assert_eq!(
                judge(text.as_bytes(), at_once),
                expected,
                "{at_once}: {text:?}"
            );
        }
    }

    #[test]
    fn every_request_has_one_reading_or_is_refused() {
        let get = "GET / HTTP/1.1\r\nHost: x\r\n";
        let post = "POST / HTTP/1.1\r\nHost: x\r\n";
        for (text, expected) in [
            (format!("{get}\r\n"), None),
            (format!("\r\n{get}\r\n"), None),
            (format!("{get}\r\n{get}\r\n\r\n{get}\r\n"), None),
            (format!("{post}Content-Length: 3\r\n\r\nabc{get}\r\n"), None),
            (format!("{post}Content-Length:0\r\n\r\n{get}\r\n"), None),
            (
                format!("{post}Transfer-Encoding: Chunked\r\n\r\n3\r\na\n\r\r\n0A ;x=y\r\n0123456789\r\n0\r\n\r\n{get}\r\n")
                    .replace("0A ;", "0A;"),
                None,
            ),
            ("GET / HTTP/1.0\r\n\r\n".to_owned(), None),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n".to_owned(), None),
            ("GET / HTTP/1.1\r\nhOST: [::1]:80 \r\n\r\n".to_owned(), None),
            // Line ends.
            ("GET / HTTP/1.1\nHost: x\r\n\r\n".to_owned(), Some(Refused::LineEnd)),
            ("GET / HTTP/1.1\r\nHost: x\n\r\n".to_owned(), Some(Refused::LineEnd)),
            ("GET / HTTP/1.1\r\nHost: x\r\n\n".to_owned(), Some(Refused::LineEnd)),
            ("\nGET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), Some(Refused::LineEnd)),
            (format!("\r\n\r\n{get}\r\n"), Some(Refused::Line)),
            (format!("{get}A: b\rContent-Length: 3\r\n\r\n"), Some(Refused::LineEnd)),
            ("GET /\r HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), Some(Refused::LineEnd)),
            ("\u{16}\u{3}\u{1}\u{2}".to_owned(), Some(Refused::Line)),
            (" GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), Some(Refused::Line)),
            // Hosts.
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), Some(Refused::Hosts(0))),
            (format!("{get}Host: x\r\n\r\n"), Some(Refused::Hosts(2))),
            ("GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n".to_owned(), Some(Refused::Hosts(2))),
            ("GET / HTTP/1.1\r\nHost: x, y\r\n\r\n".to_owned(), Some(Refused::Host)),
            ("GET / HTTP/1.1\r\nHost: x/y\r\n\r\n".to_owned(), Some(Refused::Host)),
            ("GET / HTTP/1.1\r\nHost: u@x\r\n\r\n".to_owned(), Some(Refused::Host)),
            // Headers that hide.
            (format!("{post}Content-Length : 3\r\n\r\n"), Some(Refused::Line)),
            (format!("{post} Content-Length: 3\r\n\r\n"), Some(Refused::Line)),
            (format!("{post}A: b\r\n\tc: d\r\n\r\n"), Some(Refused::Line)),
            (format!("{post}: b\r\n\r\n"), Some(Refused::Line)),
            (format!("{post}Content-Length\r\n\r\n"), Some(Refused::Line)),
            // Lengths.
            (format!("{post}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), Some(Refused::Lengths)),
            (format!("{post}Content-Length: +3\r\n\r\n"), Some(Refused::Length)),
            (format!("{post}Content-Length: 3, 3\r\n\r\n"), Some(Refused::Length)),
            (format!("{post}Content-Length: 0x3\r\n\r\n"), Some(Refused::Length)),
            (format!("{post}Content-Length:\r\n\r\n"), Some(Refused::Length)),
            (format!("{post}Content-Length: 1000000000000000000000\r\n\r\n"), Some(Refused::Length)),
            (
                format!("{post}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
                Some(Refused::LengthAndEncoding),
            ),
            (
                format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"),
                Some(Refused::LengthAndEncoding),
            ),
            (format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n"), Some(Refused::Encoding)),
            (format!("{post}Transfer-Encoding: identity\r\n\r\n"), Some(Refused::Encoding)),
            (format!("{post}Transfer-Encoding: \u{b}chunked\r\n\r\n"), Some(Refused::Encoding)),
            (
                format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
                Some(Refused::Encoding),
            ),
            (
                "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                Some(Refused::EncodingTooEarly),
            ),
        ] {
            for at_once in [1, 2, 3, 7, 100_000] {
                let (passed, is_between, refused) = judge(text.as_bytes(), at_once);
                assert_eq!(refused, expected, "{at_once}: {text:?}");
                if expected.is_none() {
                    assert!(passed == text.len() && is_between, "{at_once}: {text:?}");
                }
            }
        }
    }

    #[test]
    fn chunks_are_read_in_one_way_only() {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let of = |body: &str, passed: usize, refused| {
            check(
                &format!("{head}{body}"),
                (head.len() + passed, false, Some(refused)),
            );
        };
        of("3\nabc\r\n", 1, Refused::LineEnd);
        of("3\rabc\r\n", 2, Refused::LineEnd);
        of("3\r\nabc\n", 6, Refused::Chunk);
        of("3\r\nabcd", 6, Refused::Chunk);
        of("\r\n", 0, Refused::Chunk);
        of(";x\r\n", 0, Refused::Chunk);
        of("-3\r\n", 0, Refused::Chunk);
        of("0x3\r\n", 1, Refused::Chunk);
        of("3 \r\n", 1, Refused::Chunk);
        of("3;a\nb\r\n", 3, Refused::LineEnd);
        of("000000003\r\n", 8, Refused::Chunk);
        of("0\r\nHost: y\r\n\r\n", 3, Refused::Trailer);
        of("0\r\n\n", 3, Refused::LineEnd);
        of("0\r\n\rx", 4, Refused::Chunk);
        let long = format!("3;{}\r\nabc", "x".repeat(CHUNK_LINE_BYTES_MAX));
        of(&long, CHUNK_LINE_BYTES_MAX, Refused::Chunk);
    }

    #[test]
    fn a_head_has_32_kib_at_the_most() {
        let head = |length: usize| {
            let begin = "GET / HTTP/1.1\r\nHost: x\r\nX: ";
            format!("{begin}{}\r\n\r\n", "x".repeat(length - begin.len() - 4))
        };
        check(&head(HEAD_BYTES_MAX), (HEAD_BYTES_MAX, true, None));
        for length in [HEAD_BYTES_MAX + 1, HEAD_BYTES_MAX + 5, 100_000] {
            check(&head(length), (0, false, Some(Refused::LargeHead)));
        }
        let long_line = format!("GET /{} HTTP/1.1\r\n", "x".repeat(HEAD_BYTES_MAX));
        check(&long_line, (0, false, Some(Refused::LongLine)));
    }
}
