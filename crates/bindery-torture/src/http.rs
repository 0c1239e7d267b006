//! A client that sends each request once and never retries: the checker decides on the outcome.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The connection of one client to one server.
pub(crate) struct Http {
    address: SocketAddr,
    key: String,
    timeout: Duration,
    stream: Option<BufReader<TcpStream>>,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// 0 if it has none.
    pub(crate) revision: u64,
    pub(crate) body: Value,
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Nothing was sent.
    NotSent,
    /// It may have arrived.
    Unknown,
}

impl Http {
    pub(crate) fn new(address: SocketAddr, key: &str, timeout: Duration) -> Self {
        Self {
            address,
            key: key.to_owned(),
            timeout,
            stream: None,
        }
    }

    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        at_least: u64,
    ) -> Result<Reply, Lost> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().map_err(|_| Lost::NotSent)?,
        };
        let body = body.map(ToString::to_string).unwrap_or_default();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
            content-length: {}\r\n",
            self.address,
            self.key,
            body.len()
        );
        if at_least > 0 {
            let _ = write!(head, "bindery-at-least: {at_least}\r\n");
        }
        let request = format!("{head}\r\n{body}");
        let sent = stream.get_mut().write_all(request.as_bytes());
        let (reply, stays) = sent
            .and_then(|()| read(&mut stream))
            .map_err(|_| Lost::Unknown)?;
        if stays {
            self.stream = Some(stream);
        }
        Ok(reply)
    }

    fn connect(&self) -> std::io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        Ok(BufReader::new(stream))
    }
}

/// A response, and whether the connection can be used again.
fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<(Reply, bool)> {
    let bad = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let mut line = String::new();
    let mut next = |stream: &mut BufReader<TcpStream>| {
        line.clear();
        match stream.read_line(&mut line)? {
            0 => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
            _ => Ok(line.trim_end().to_owned()),
        }
    };
    let status = next(stream)?;
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let (mut revision, mut length, mut stays) = (0, 0, true);
    loop {
        let header = next(stream)?.to_ascii_lowercase();
        let Some((name, value)) = header.split_once(':') else {
            break;
        };
        match (name, value.trim()) {
            ("bindery-revision", value) => revision = value.parse().map_err(|_| bad())?,
            ("content-length", value) => length = value.parse().map_err(|_| bad())?,
            ("transfer-encoding", _) => return Err(bad()),
            ("connection", "close") => stays = false,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let reply = Reply {
        status: status.ok_or_else(bad)?,
        revision,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    Ok((reply, stays))
}
