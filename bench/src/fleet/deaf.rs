//! A way to a database on which nobody is ever woken: whoever listens hears nothing more.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result};

const LISTEN: &[u8] = b"LISTEN bindery";

/// Forwards everything but what is said on connections that listen.
pub(super) struct Deaf {
    pub(super) url: String,
}

impl Deaf {
    /// To the database of this URL.
    pub(super) fn to(url: &str) -> Result<Self> {
        let (login, rest) = url.split_once('@').context("a URL without a login")?;
        let (target, database) = rest.split_once('/').context("a URL without a database")?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("{login}@{}/{database}", listener.local_addr()?);
        let target = target.to_owned();
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&target) else {
                    continue;
                };
                let _ = connect(near, far);
            }
        });
        Ok(Self { url })
    }
}

fn connect(near: TcpStream, far: TcpStream) -> std::io::Result<()> {
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let listens = Arc::new(AtomicBool::new(false));
    let (from, to, is_deaf) = (near.try_clone()?, far.try_clone()?, Arc::clone(&listens));
    thread::spawn(move || {
        forward(from, to, |said| {
            if said.windows(LISTEN.len()).any(|found| found == LISTEN) {
                listens.store(true, Ordering::Relaxed);
            }
            true
        });
    });
    thread::spawn(move || {
        // The first answer after it says that it listens.
        let mut is_told = false;
        forward(far, near, |_| {
            let comes_through = !is_told;
            is_told = is_deaf.load(Ordering::Relaxed);
            comes_through
        });
    });
    Ok(())
}

fn forward(mut from: TcpStream, mut to: TcpStream, mut comes_through: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let said = &buffer[..read];
        if comes_through(said) && to.write_all(said).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
