//! Outgoing web requests: the one place where a client is built, so that all of the program speaks TLS in one way.

#![allow(clippy::disallowed_methods)]

use std::sync::{Arc, LazyLock};

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

/// Mozilla's authorities, so that a container without certificates works, and the host's own, so that an operator's
/// private authority is believed.
#[allow(clippy::expect_used, reason = "the provider is a constant and knows the default versions")]
static TLS: LazyLock<ClientConfig> = LazyLock::new(|| {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // What can't be read or understood there is what we do without.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocol versions that the provider supports")
        .with_root_certificates(roots)
        .with_no_client_auth()
});

/// A client to be configured. Use it instead of `reqwest::Client::builder`, which has no cryptography of its own and
/// panics.
pub fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().tls_backend_preconfigured(TLS.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_can_be_built_and_has_authorities() {
        assert!(client().build().is_ok());
        assert!(webpki_roots::TLS_SERVER_ROOTS.len() > 50);
    }
}
