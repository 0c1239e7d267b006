//! A database behind TLS, which the server of the tests can't speak itself: a proxy terminates it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bindery_store::Store as _;
use bindery_store::postgres::PostgresStore;
use rcgen::{CertifiedKey, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Database;

/// The first message of a PostgreSQL client that wants TLS.
const REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

#[test]
fn a_database_behind_tls_is_reached_if_its_certificate_is_for_it_and_trusted() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = Database::new();
    let ours = certificate("localhost");
    let others = certificate("elsewhere.example");
    let database_at = address_of(&database);
    let good = runtime.block_on(serve(&ours, database_at));
    let bad = runtime.block_on(serve(&others, database_at));
    let files = tempfile::tempdir().unwrap();
    let roots = files.path().join("roots.pem");
    std::fs::write(&roots, ours.cert.pem() + &others.cert.pem()).unwrap();
    let strange = files.path().join("strange.pem");
    std::fs::write(&strange, certificate("localhost").cert.pem()).unwrap();
    let url = |port: u16, roots: &std::path::Path| {
        let at = database
            .url
            .replacen(&database_at.to_string(), &format!("localhost:{port}"), 1);
        format!("{at}?sslmode=require&sslrootcert={}", roots.display())
    };
    let store = PostgresStore::open(&url(good, &roots)).unwrap();
    assert_eq!(store.accounts().unwrap(), []);
    for (what, url) in [
        ("a certificate of nobody we know", url(good, &strange)),
        ("a certificate for another host", url(bad, &roots)),
        ("no TLS at all", url(database_at.port(), &roots)),
    ] {
        let refused = PostgresStore::open(&url).map_err(|error| error.to_string());
        let refused = refused.expect_err(what);
        assert!(refused.to_lowercase().contains("tls"), "{what}: {refused}");
        assert!(!refused.contains('\n'), "{what}: {refused}");
    }
}

fn certificate(host: &str) -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed([host.to_owned()]).expect("a certificate")
}

fn address_of(database: &Database) -> SocketAddr {
    let (_, at) = database.url.split_once('@').expect("a user");
    let (address, _) = at.split_once('/').expect("a database");
    address.parse().expect("an address")
}

/// Terminates TLS and forwards, until the runtime ends. Returns its port.
async fn serve(certificate: &CertifiedKey<KeyPair>, database: SocketAddr) -> u16 {
    let key = PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.cert.der().clone()],
            PrivateKeyDer::from(key),
        )
        .expect("a certificate with its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass_on(client, acceptor.clone(), database));
        }
    });
    port
}

async fn pass_on(
    mut client: TcpStream,
    acceptor: TlsAcceptor,
    database: SocketAddr,
) -> io::Result<()> {
    let mut request = [0; REQUEST.len()];
    client.read_exact(&mut request).await?;
    assert_eq!(request, REQUEST, "nothing is sent in the clear");
    client.write_all(b"S").await?;
    let mut client = acceptor.accept(client).await?;
    let mut database = TcpStream::connect(database).await?;
    tokio::io::copy_bidirectional(&mut client, &mut database).await?;
    Ok(())
}
