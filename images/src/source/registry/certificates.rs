//! Whom to trust: the system's certificate authorities, and for each registry what `certs.d` adds.
//!
//! A directory `certs.d/HOST[:PORT]` has authorities in `*.crt`, and pairs of a client's
//! certificate `NAME.cert` and key `NAME.key`, as docker and podman read it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use super::limits::MAX_CERTIFICATE_FILES;
use super::settings::read_file;
use super::{RegistryError, Settings};

/// The TLS settings for one host.
pub(super) fn tls(
    settings: &Settings,
    authority: &str,
    verify: bool,
) -> Result<TlsConfig, RegistryError> {
    let own = Own::read(settings, authority)?;
    let mut roots: Vec<Certificate<'static>> = system().clone();
    roots.extend(own.authorities);
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .client_cert(own.client)
        .disable_verification(!verify)
        .unversioned_rustls_crypto_provider(provider())
        .build())
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

/// What `/etc/ssl/certs`, or `SSL_CERT_FILE` and `SSL_CERT_DIR`, have. A file that cannot be read
/// adds nothing: what it would have vouched for is refused then.
fn system() -> &'static Vec<Certificate<'static>> {
    static SYSTEM: OnceLock<Vec<Certificate<'static>>> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let certificates = found.certs.iter();
        certificates
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect()
    })
}

/// What the `certs.d` directories of one host say.
#[derive(Default)]
struct Own {
    authorities: Vec<Certificate<'static>>,
    client: Option<ClientCert>,
}

impl Own {
    fn read(settings: &Settings, authority: &str) -> Result<Self, RegistryError> {
        let mut own = Self::default();
        for base in &settings.certificates {
            for path in files(&base.join(authority))? {
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => own.authorities.extend(certificates(&path)?),
                    Some("cert") if own.client.is_none() => own.client = Some(client(&path)?),
                    _ => {}
                }
            }
        }
        Ok(own)
    }
}

/// The files of a directory in the order of their names; none when it is not there.
fn files(directory: &Path) -> Result<Vec<PathBuf>, RegistryError> {
    let failed = |source| RegistryError::File {
        action: "read",
        path: directory.to_owned(),
        source,
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries.take(MAX_CERTIFICATE_FILES) {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, RegistryError> {
    let mut found = Vec::new();
    for item in pem(path)? {
        if let PemItem::Certificate(certificate) = item {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(wrong(path, "there is no certificate in PEM form in it"));
    }
    Ok(found)
}

fn client(path: &Path) -> Result<ClientCert, RegistryError> {
    let chain = certificates(path)?;
    let key_path = path.with_extension("key");
    let key = pem(&key_path)?.into_iter().find_map(|item| match item {
        PemItem::PrivateKey(key) => Some(key),
        _ => None,
    });
    let key = key.ok_or_else(|| {
        wrong(
            &key_path,
            "there is no private key in PEM form in it, which the certificate needs",
        )
    })?;
    check_pair(&chain, &key).map_err(|error| wrong(path, &error.to_string()))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

/// A key of another certificate is found out here, by name, and not in the middle of a connection.
fn check_pair(chain: &[Certificate<'_>], key: &PrivateKey<'_>) -> Result<(), rustls::Error> {
    let chain = chain
        .iter()
        .map(|certificate| CertificateDer::from(certificate.der().to_vec()));
    let key = PrivateKeyDer::try_from(key.der().to_vec())
        .map_err(|error| rustls::Error::General(error.to_owned()))?;
    rustls::sign::CertifiedKey::from_der(chain.collect(), key, &provider()).map(drop)
}

fn pem(path: &Path) -> Result<Vec<PemItem<'static>>, RegistryError> {
    let bytes = read_file(path)?.ok_or_else(|| wrong(path, "it is missing"))?;
    parse_pem(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(path, &error.to_string()))
}

fn wrong(path: &Path, reason: &str) -> RegistryError {
    RegistryError::Setting {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}
