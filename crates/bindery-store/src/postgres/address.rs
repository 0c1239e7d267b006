//! The address of a database, from a URL: hosts in order, login, and protection of the connection. The URL
//! contains a password, so no message repeats a part of it that could be one.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::{ANSWER_TIMEOUT, CONNECT_TIMEOUT};

/// A silent connection is checked after this time, and closed after a few attempts.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// The form of a URL.
const FORM: &str = "postgres://USER[:PASSWORD]@HOST[:PORT][,HOST[:PORT]…]/DATABASE[?sslmode=…]; \
    special characters are written %XX";

/// Why a URL is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It can't be parsed.
    #[error("it is no URL of a PostgreSQL database: {FORM}")]
    Form,
    /// It names no database: the name of the user is a poor default.
    #[error("it names no database: {FORM}")]
    NoDatabase,
    /// Its `sslmode` is not supported.
    #[error("sslmode is `verify-full` (or `require`, which is the same here) or `disable`")]
    SslMode,
    /// The file in `sslrootcert` can't be used.
    #[error("sslrootcert: {0}")]
    Roots(String),
}

/// The address of a database.
pub(super) struct Address {
    /// One for each host, in order.
    pub(super) hosts: Vec<Config>,
    pub(super) tls: Option<MakeRustlsConnect>,
    /// For messages: hosts and database, without user and password.
    pub(super) place: String,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.place).finish()
    }
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, AddressError> {
        let (url, protection) = Protection::take_from(url)?;
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(AddressError::Form);
        }
        let config: Config = url.parse().map_err(|_| AddressError::Form)?;
        let Some(database) = config.get_dbname().filter(|name| !name.is_empty()) else {
            return Err(AddressError::NoDatabase);
        };
        let hosts = hosts(&config)?;
        let is_encrypted = match protection.mode {
            Mode::Disabled => false,
            Mode::Verified => true,
            // Local traffic can only be read on this machine itself.
            Mode::Unsaid => !hosts.iter().all(|(host, _)| is_here(host)),
        };
        let named: Vec<String> = hosts
            .iter()
            .map(|(host, port)| match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(path) => format!("{}:{port}", path.display()),
            })
            .collect();
        let place = format!("postgres://{}/{database}", named.join(","));
        let tls = is_encrypted.then(|| protection.connector()).transpose()?;
        Ok(Self {
            hosts: hosts
                .iter()
                .map(|(host, port)| one_host(&config, host, *port, is_encrypted))
                .collect(),
            tls,
            place,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Unsaid,
    Disabled,
    Verified,
}

/// The TLS settings of a URL.
///
/// libpq's modes between `disable` and `verify-full` encrypt without knowing the other end. Here a
/// certificate is always verified, so `require` is `verify-full`, and the modes that fall back to plain text
/// are refused.
struct Protection {
    mode: Mode,
    roots: Option<String>,
}

impl Protection {
    /// Takes `sslmode` and `sslrootcert` out of a URL.
    fn take_from(url: &str) -> Result<(String, Self), AddressError> {
        let mut said = Self {
            mode: Mode::Unsaid,
            roots: None,
        };
        let Some((base, query)) = url.split_once('?') else {
            return Ok((url.to_owned(), said));
        };
        let mut rest = Vec::new();
        for member in query.split('&') {
            match member.split_once('=') {
                Some(("sslmode", "disable")) => said.mode = Mode::Disabled,
                Some(("sslmode", "require" | "verify-full")) => said.mode = Mode::Verified,
                Some(("sslmode", _)) => return Err(AddressError::SslMode),
                Some(("sslrootcert", path)) => {
                    let path = percent_decode_str(path).decode_utf8();
                    said.roots = Some(path.map_err(|_| AddressError::Form)?.into_owned());
                }
                _ => rest.push(member),
            }
        }
        Ok((format!("{base}?{}", rest.join("&")), said))
    }

    fn connector(&self) -> Result<MakeRustlsConnect, AddressError> {
        let roots = match &self.roots {
            Some(path) => roots_of(Path::new(path))?,
            None => roots_of_the_system()?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| AddressError::Roots(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }
}

fn roots_of(path: &Path) -> Result<RootCertStore, AddressError> {
    let refuse = |why: String| AddressError::Roots(format!("`{}`: {why}", path.display()));
    let certificates = CertificateDer::pem_file_iter(path);
    let mut roots = RootCertStore::empty();
    for certificate in certificates.map_err(|error| refuse(error.to_string()))? {
        let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
        let added = roots.add(certificate);
        added.map_err(|error| refuse(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refuse("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}

fn roots_of_the_system() -> Result<RootCertStore, AddressError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let why = "this system has no certificates to trust; name a file with them";
        return Err(AddressError::Roots(why.to_owned()));
    }
    Ok(roots)
}

/// Each host with its port.
fn hosts(config: &Config) -> Result<Vec<(Host, u16)>, AddressError> {
    const PORT: u16 = 5432;
    let (hosts, ports) = (config.get_hosts(), config.get_ports());
    if hosts.is_empty() || !config.get_hostaddrs().is_empty() {
        return Err(AddressError::Form);
    }
    let port = |index| match ports {
        [] => Some(PORT),
        [port] => Some(*port),
        ports => ports.get(index).copied(),
    };
    let paired = hosts.iter().enumerate();
    paired
        .map(|(index, host)| Some((host.clone(), port(index)?)))
        .collect::<Option<_>>()
        .ok_or(AddressError::Form)
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse()
                    .is_ok_and(|address: IpAddr| address.is_loopback())
        }
    }
}

/// The same login at one host. Each host has its own timeout: the library would wait forever for a host that
/// accepts the connection and never responds, and never try the next.
fn one_host(all: &Config, host: &Host, port: u16, is_encrypted: bool) -> Config {
    let mut config = all_but_the_hosts(all);
    match host {
        Host::Tcp(name) => config.host(name),
        Host::Unix(path) => config.host_path(path),
    };
    config
        .port(port)
        .connect_timeout(CONNECT_TIMEOUT)
        .ssl_mode(if is_encrypted {
            SslMode::Require
        } else {
            SslMode::Disable
        })
        // A standby, or a former primary, takes no writes; the next host may.
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES)
        .tcp_user_timeout(ANSWER_TIMEOUT);
    config
}

impl Address {
    /// The same, where a server that takes no writes is enough.
    pub(super) fn of_any_server(&self) -> Self {
        let mut hosts = self.hosts.clone();
        for host in &mut hosts {
            host.target_session_attrs(TargetSessionAttrs::Any);
        }
        Self {
            hosts,
            tls: self.tls.clone(),
            place: self.place.clone(),
        }
    }
}

fn all_but_the_hosts(all: &Config) -> Config {
    let mut config = Config::new();
    if let Some(user) = all.get_user() {
        config.user(user);
    }
    if let Some(password) = all.get_password() {
        config.password(password);
    }
    if let Some(database) = all.get_dbname() {
        config.dbname(database);
    }
    if let Some(options) = all.get_options() {
        config.options(options);
    }
    config.application_name(all.get_application_name().unwrap_or("bindery"));
    config.channel_binding(all.get_channel_binding());
    config.ssl_negotiation(all.get_ssl_negotiation());
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Result<String, AddressError> {
        Address::parse(url).map(|address| address.place)
    }

    #[test]
    fn a_place_has_hosts_and_database_and_nothing_secret() {
        for (url, expected) in [
            (
                "postgres://ada:s3cret@127.0.0.1/acl",
                "postgres://127.0.0.1:5432/acl",
            ),
            (
                "postgresql://ada@localhost:1,127.0.0.1:2/acl?sslmode=disable",
                "postgres://localhost:1,127.0.0.1:2/acl",
            ),
            (
                "postgres://ada@%2Frun%2Fpg/acl",
                "postgres:///run/pg:5432/acl",
            ),
            (
                "postgres://ada:p%40ss@a.example,b.example:9/acl?sslmode=disable",
                "postgres://a.example:5432,b.example:9/acl",
            ),
            // Characters that should be escaped in a password, but are accepted.
            (
                "postgres://ada:s3c/s3cret@127.0.0.1/acl",
                "postgres://127.0.0.1:5432/acl",
            ),
            (
                "postgres://ada:s3c?s3cret=1@127.0.0.1/acl",
                "postgres://127.0.0.1:5432/acl",
            ),
        ] {
            assert_eq!(place(url).as_deref(), Ok(expected), "{url}");
        }
        let address = Address::parse("postgres://ada:s3cret@127.0.0.1/acl").unwrap();
        let shown = format!("{address:?} {:?}", address.hosts);
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for url in [
            "",
            "postgres://",
            "mysql://ada:s3cret@127.0.0.1/acl",
            "postgres://ada:s3cret@127.0.0.1:port/acl",
            "postgres://ada:s3cret@127.0.0.1",
            "postgres://ada:s3cret@127.0.0.1/",
            "postgres://ada:s3c#s3cret@127.0.0.1/acl?s3cret=1",
            "postgres://ada:s3cret@127.0.0.1/acl?sslmode=prefer",
            "postgres://ada:s3cret@127.0.0.1/acl?sslmode=s3cret",
            "host=127.0.0.1 user=ada password=s3cret",
        ] {
            let message = place(url).unwrap_err().to_string();
            assert!(!message.contains("s3cret"), "{url}: {message}");
            assert!(!message.contains('\n'), "{url}: {message}");
        }
    }

    #[test]
    fn the_way_to_another_machine_is_encrypted_unless_it_is_said() {
        let is_encrypted = |url: &str| Address::parse(url).unwrap().tls.is_some();
        let certificate = rcgen::generate_simple_self_signed(["db.example".to_owned()]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), certificate.cert.pem()).unwrap();
        let roots = file.path().display();
        for (url, expected) in [
            ("postgres://ada@localhost/acl".to_owned(), false),
            ("postgres://ada@[::1]/acl".to_owned(), false),
            (
                "postgres://ada@db.example/acl?sslmode=disable".to_owned(),
                false,
            ),
            (
                format!("postgres://ada@db.example/acl?sslrootcert={roots}"),
                true,
            ),
            (
                format!("postgres://ada@localhost,db.example/acl?sslrootcert={roots}"),
                true,
            ),
            (
                format!("postgres://ada@localhost/acl?sslmode=require&sslrootcert={roots}"),
                true,
            ),
        ] {
            assert_eq!(is_encrypted(&url), expected, "{url}");
        }
        let missing = place("postgres://ada@db.example/acl?sslrootcert=/not/there").unwrap_err();
        assert!(missing.to_string().contains("`/not/there`"), "{missing}");
    }
}
