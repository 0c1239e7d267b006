//! Many connections at once, each with one change after the other.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One connection: where to, and what it sends in turns.
pub(super) struct Lane {
    address: String,
    requests: [Vec<u8>; 2],
}

impl Lane {
    pub(super) fn new(address: &str, requests: [Vec<u8>; 2]) -> Self {
        Self {
            address: address.to_owned(),
            requests,
        }
    }
}

/// So many changes on each of them: how many a second in all, and how many nanoseconds each took. One that is refused is an error.
pub(super) fn patch(lanes: &[Lane], count: usize) -> Result<(f64, Vec<f64>)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut streams = Vec::new();
        for lane in lanes {
            let stream = TcpStream::connect(&lane.address).await?;
            stream.set_nodelay(true)?;
            streams.push((stream, lane.requests.clone()));
        }
        let begun = Instant::now();
        let mut clients = tokio::task::JoinSet::new();
        for (stream, requests) in streams {
            clients.spawn(go_through(stream, requests, count));
        }
        let mut times = Vec::new();
        while let Some(done) = clients.join_next().await {
            times.extend(done??);
        }
        Ok((times.len() as f64 / begun.elapsed().as_secs_f64(), times))
    })
}

async fn go_through(
    mut stream: TcpStream,
    requests: [Vec<u8>; 2],
    count: usize,
) -> Result<Vec<f64>> {
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut times = Vec::with_capacity(count);
    for turn in 0..count {
        let begun = Instant::now();
        stream.write_all(&requests[turn % 2]).await?;
        buffer.clear();
        loop {
            ensure!(
                stream.read_buf(&mut buffer).await? > 0,
                "the connection ended"
            );
            if whole(&buffer)?.is_some() {
                break;
            }
        }
        times.push(begun.elapsed().as_nanos() as f64);
    }
    Ok(times)
}

/// The body of an answer, once all of it is there; an error unless it is one of success.
pub(super) fn whole(answer: &[u8]) -> Result<Option<&str>> {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&answer[..head])?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.context("an answer without its length")?;
    let Some(body) = answer.get(head + 4..head + 4 + length) else {
        return Ok(None);
    };
    let body = std::str::from_utf8(body)?;
    ensure!(text.starts_with("HTTP/1.1 2"), "refused: {text}\n{body}");
    Ok(Some(body))
}
