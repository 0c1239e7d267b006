//! The client address of a request: the peer of its connection, or what trusted proxies report. For the audit
//! log, and for limits of attempts.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use hyper::header::{HeaderMap, HeaderName};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Addresses with the same first bits, in CIDR notation: `10.0.0.0/8`, `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u32,
}

/// Why a text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Neither an address nor a network.
    #[error("an address or a network is expected, like 10.1.2.3, 10.0.0.0/8 or fd00::/8")]
    NotANetwork,
    /// The address has bits outside of the network's prefix.
    #[error("the network of this address begins with {0}; write that, or the address alone")]
    NotItsFirst(IpAddr),
    /// The network has all addresses, so any client could choose its address.
    #[error("this network has all addresses; name the proxies")]
    Everybody,
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::NotANetwork)?;
        let all = width(address);
        let bits = match bits {
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits
                .parse()
                .ok()
                .filter(|bits| *bits <= all)
                .ok_or(NetworkError::NotANetwork)?,
            Some(_) => return Err(NetworkError::NotANetwork),
            None => all,
        };
        let first = first_of(address, bits);
        if bits == 0 {
            return Err(NetworkError::Everybody);
        }
        if first != address {
            return Err(NetworkError::NotItsFirst(first));
        }
        Ok(Self { first, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl Network {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && first_of(address, self.bits) == self.first
    }
}

const fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address with all but its first bits cleared.
fn first_of(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

/// The client address of the request.
///
/// A peer that isn't trusted is the client; its header is ignored. Each trusted proxy has added its peer at
/// the end of `X-Forwarded-For`. Reading from the end, the first address that isn't trusted is the client,
/// and everything before it is unverified. An entry that is not an address stops the search: the last trusted
/// proxy is then the client.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let mut hops = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
    while is_trusted(client) {
        match hops.next().map(hop) {
            Some(Some(address)) => client = address,
            Some(None) | None => break,
        }
    }
    client
}

/// One entry: an address; some proxies write a port, too.
fn hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || text.strip_prefix('[')?.strip_suffix(']');
    let address = match text.parse::<std::net::SocketAddr>() {
        Ok(with_port) => with_port.ip(),
        Err(_) => bare().unwrap_or(text).parse().ok()?,
    };
    Some(address.to_canonical())
}

/// The addresses of one customer: an IPv4 address, or all IPv6 addresses with the same first 64 bits.
pub(crate) fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(_) => first_of(address, 64),
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_is_an_address_and_how_many_of_its_bits_count() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.2/31", "10.1.2.3", "10.1.2.4"),
            ("fd00::/8", "fdff::1", "fe00::"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/8", "10.0.0.0", "::ffff:b00:0"),
        ] {
            let network: Network = text.parse().unwrap();
            assert!(network.contains(address(inside)), "{text} {inside}");
            assert!(!network.contains(address(outside)), "{text} {outside}");
        }
        for (text, expected) in [
            ("", NetworkError::NotANetwork),
            ("proxy", NetworkError::NotANetwork),
            ("10.0.0.0/", NetworkError::NotANetwork),
            ("10.0.0.0/33", NetworkError::NotANetwork),
            ("10.0.0.0/+8", NetworkError::NotANetwork),
            ("::/129", NetworkError::NotANetwork),
            ("10.1.0.0/8", NetworkError::NotItsFirst(address("10.0.0.0"))),
            ("0.0.0.0/0", NetworkError::Everybody),
            ("::/0", NetworkError::Everybody),
        ] {
            assert_eq!(text.parse::<Network>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn only_what_trusted_proxies_say_counts() {
        let trusted = ["10.0.0.0/8", "::1"].map(|text| text.parse().unwrap());
        for (peer, lines, expected) in [
            // No trusted proxy: the header is ignored.
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            // A client's false claim comes before the proxy's entry.
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["10.6.6.6, 198.51.100.7"], "198.51.100.7"),
            // Two proxies.
            ("10.0.0.1", &["198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("::1", &["198.51.100.7 ,10.0.0.2"], "198.51.100.7"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            // Only proxies.
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // With ports, and with an entry that is not an address.
            ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["198.51.100.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, , 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
            }
            let found = client(address(peer), &headers, &trusted);
            assert_eq!(found, address(expected), "{peer} {lines:?}");
            assert_eq!(
                client(address(peer), &headers, &[]),
                address(peer).to_canonical(),
                "{peer} {lines:?}"
            );
        }
    }

    #[test]
    fn a_customer_is_one_however_many_addresses_they_have() {
        for (text, expected) in [
            ("198.51.100.7", "198.51.100.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
        ] {
            assert_eq!(household(address(text)), address(expected));
        }
    }
}
