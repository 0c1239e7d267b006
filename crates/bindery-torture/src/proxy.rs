//! A wire between a server and a database that can be cut, delayed and held, and that can break in the middle
//! of a commit.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

/// The bytes with which a server asks for a commit: a simple query.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// How often a held wire checks whether it is released.
const HELD_PAUSE: Duration = Duration::from_millis(10);
/// How long a commit has to arrive whose response is dropped.
const ARRIVAL_PAUSE: Duration = Duration::from_millis(200);

/// Forwards connections under the current conditions. Its threads end with their connections.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    sky: Mutex<Sky>,
    sprung: AtomicUsize,
}

#[derive(Default)]
struct Sky {
    is_cut: bool,
    is_held: bool,
    delay: Duration,
    trap: Option<Trap>,
    open: HashMap<usize, [TcpStream; 2]>,
    next: usize,
}

/// A fault of one connection, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trap {
    /// The next commit is lost: the connection breaks after this many bytes of it.
    BeforeCommit { bytes: usize },
    /// The next commit passes, and the connection breaks before its response.
    AfterCommit,
    /// The next commit passes, and from then on nothing comes back on the open connection.
    SilentCommit,
    /// The connection breaks after this many bytes to the database, or of its responses.
    AfterBytes { is_upward: bool, bytes: usize },
}

impl Proxy {
    pub(crate) fn to(target: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let shared: Arc<Shared> = Arc::default();
        let proxy = Self {
            port,
            shared: Arc::clone(&shared),
        };
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if shared.sky().is_cut {
                    continue;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else {
                    continue;
                };
                let _ = connect(&shared, near, far);
            }
        });
        Ok(proxy)
    }

    /// Breaks every connection, and allows none until [`Proxy::mend`].
    pub(crate) fn cut(&self) {
        let mut sky = self.shared.sky();
        sky.is_cut = true;
        for [near, far] in sky.open.values() {
            let _ = near.shutdown(Shutdown::Both);
            let _ = far.shutdown(Shutdown::Both);
        }
    }

    /// Nothing passes until [`Proxy::mend`], and nothing is lost.
    pub(crate) fn hold(&self) {
        self.shared.sky().is_held = true;
    }

    /// Everything passes later by this time.
    pub(crate) fn delay(&self, delay: Duration) {
        self.shared.sky().delay = delay;
    }

    pub(crate) fn set(&self, trap: Trap) {
        self.shared.sky().trap = Some(trap);
    }

    /// Ends all faults.
    pub(crate) fn mend(&self) {
        let mut sky = self.shared.sky();
        sky.is_cut = false;
        sky.is_held = false;
        sky.delay = Duration::ZERO;
        sky.trap = None;
    }

    /// How many traps have sprung.
    pub(crate) fn sprung(&self) -> usize {
        self.shared.sprung.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn sky(&self) -> MutexGuard<'_, Sky> {
        self.sky.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which of these bytes pass, and what happens then.
    fn passage(&self, is_upward: bool, bytes: &[u8]) -> Passage {
        let mut sky = self.sky();
        let whole = Passage {
            bytes: bytes.len(),
            then: Then::GoesOn,
        };
        let commit = || {
            bytes
                .windows(COMMIT.len())
                .position(|found| found == COMMIT)
        };
        let passage = match sky.trap {
            Some(Trap::AfterBytes {
                is_upward: direction,
                bytes: left,
            }) if direction == is_upward => {
                if left > bytes.len() {
                    sky.trap = Some(Trap::AfterBytes {
                        is_upward,
                        bytes: left - bytes.len(),
                    });
                    return whole;
                }
                Passage {
                    bytes: left,
                    then: Then::Breaks,
                }
            }
            Some(Trap::BeforeCommit { bytes: few }) if is_upward => match commit() {
                Some(at) => Passage {
                    bytes: at + few.min(COMMIT.len() - 1),
                    then: Then::Breaks,
                },
                None => return whole,
            },
            Some(trap @ (Trap::AfterCommit | Trap::SilentCommit))
                if is_upward && commit().is_some() =>
            {
                Passage {
                    bytes: bytes.len(),
                    then: match trap {
                        Trap::AfterCommit => Then::BreaksAnswering,
                        _ => Then::FallsSilent,
                    },
                }
            }
            _ => return whole,
        };
        sky.trap = None;
        self.sprung.fetch_add(1, Ordering::Relaxed);
        passage
    }
}

struct Passage {
    bytes: usize,
    then: Then,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    GoesOn,
    Breaks,
    /// Everything to the database has arrived; its responses don't.
    BreaksAnswering,
    FallsSilent,
}

fn connect(shared: &Arc<Shared>, near: TcpStream, far: TcpStream) -> std::io::Result<()> {
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    // Whether responses are dropped on this connection.
    let is_silent = Arc::new(Mutex::new(false));
    let number = {
        let mut sky = shared.sky();
        sky.next += 1;
        let number = sky.next;
        sky.open
            .insert(number, [near.try_clone()?, far.try_clone()?]);
        number
    };
    for (is_upward, from, to) in [
        (true, near.try_clone()?, far.try_clone()?),
        (false, far, near),
    ] {
        let (shared, is_silent) = (Arc::clone(shared), Arc::clone(&is_silent));
        thread::spawn(move || {
            forward(&shared, &is_silent, is_upward, &from, &to);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            shared.sky().open.remove(&number);
        });
    }
    Ok(())
}

fn forward(
    shared: &Shared,
    is_silent: &Mutex<bool>,
    is_upward: bool,
    mut from: &TcpStream,
    mut to: &TcpStream,
) {
    let mut buffer = vec![0; 64 * 1024];
    let silent = || is_silent.lock().unwrap_or_else(PoisonError::into_inner);
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let delay = loop {
            let (is_held, delay) = {
                let sky = shared.sky();
                (sky.is_held, sky.delay)
            };
            if !is_held {
                break delay;
            }
            thread::sleep(HELD_PAUSE);
        };
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        let Passage { bytes, then } = shared.passage(is_upward, &buffer[..read]);
        if matches!(then, Then::BreaksAnswering | Then::FallsSilent) {
            *silent() = true;
        }
        if !is_upward && *silent() {
            continue;
        }
        if to.write_all(&buffer[..bytes]).is_err() || then == Then::Breaks {
            return;
        }
        if then == Then::BreaksAnswering {
            // What was written arrives before the end does.
            let _ = to.shutdown(Shutdown::Write);
            let _ = from.shutdown(Shutdown::Both);
            thread::sleep(ARRIVAL_PAUSE);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a commit that arrive, and the bytes of its response that come back.
    fn through(trap: Option<Trap>) -> (Vec<u8>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::to(listener.local_addr().unwrap().port()).unwrap();
        let database = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut arrived = Vec::new();
            let mut buffer = [0; 1024];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                arrived.extend_from_slice(&buffer[..read]);
                if arrived.ends_with(COMMIT) {
                    let _ = stream.write_all(b"done");
                }
            }
            arrived
        });
        if let Some(trap) = trap {
            proxy.set(trap);
        }
        let mut server = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
        server.write_all(&[b"before", COMMIT].concat()).unwrap();
        let mut answer = Vec::new();
        match trap {
            // Nothing arrives, and nothing ends.
            Some(Trap::SilentCommit) => {
                let pause = Some(Duration::from_millis(300));
                server.set_read_timeout(pause).unwrap();
                assert!(server.read(&mut [0; 4]).is_err());
            }
            Some(_) => {
                let _ = server.read_to_end(&mut answer);
            }
            None => {
                answer = vec![0; 4];
                server.read_exact(&mut answer).unwrap();
            }
        }
        assert_eq!(proxy.sprung(), usize::from(trap.is_some()));
        drop(server);
        (database.join().unwrap(), answer)
    }

    #[test]
    fn a_trap_lets_through_what_it_says_of_a_commit_and_nothing_of_the_answer() {
        let whole = [b"before", COMMIT].concat();
        assert_eq!(through(None), (whole.clone(), b"done".to_vec()));
        let cut_off = through(Some(Trap::BeforeCommit { bytes: 4 }));
        assert_eq!(cut_off, (whole[..10].to_vec(), Vec::new()));
        let few = Trap::AfterBytes {
            is_upward: true,
            bytes: 3,
        };
        assert_eq!(through(Some(few)), (b"bef".to_vec(), Vec::new()));
        for unanswered in [Trap::AfterCommit, Trap::SilentCommit] {
            assert_eq!(through(Some(unanswered)), (whole.clone(), Vec::new()));
        }
        let answer = Trap::AfterBytes {
            is_upward: false,
            bytes: 1,
        };
        assert_eq!(through(Some(answer)), (whole, b"d".to_vec()));
    }
}
