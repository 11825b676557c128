//! Types of settings that the standard library has no type for.

use std::fmt;
use std::net::IpAddr;

/// The service knows what it can do without its store.
pub use crate::service::degrade::StorePolicy;
/// The schedule knows what an address of its server looks like.
pub use crate::state::redis::RedisUrl;
/// The store knows what an address of its server looks like.
pub use crate::store::mongo::MongoUrl;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    Human,
    /// One JSON object a line, for collectors.
    Json,
}

/// A text that must not be seen: its `Debug` form is a placeholder, and it has no other.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text from being seen.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(..)")
    }
}

/// A range of addresses: those whose first `prefix` bits equal the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network of `prefix` bits around `address`; None if the address has fewer bits.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        (prefix <= width(address)).then_some(Self { address, prefix })
    }

    /// The network that holds this address only.
    pub fn single(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, prefix: width(address) }
    }

    /// Whether `address` lies in the network. An IPv4 address in IPv6 clothes counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let ignored = 32 - u32::from(self.prefix);
                let differing = u32::from(ours) ^ u32::from(theirs);
                differing.checked_shr(ignored).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let ignored = 128 - u32::from(self.prefix);
                let differing = u128::from(ours) ^ u128::from(theirs);
                differing.checked_shr(ignored).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == width(self.address) {
            return write!(out, "{}", self.address);
        }
        write!(out, "{}/{}", self.address, self.prefix)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The peers whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed (`spec/worker-api.md`, section 2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedProxies(Vec<Network>);

impl TrustedProxies {
    /// Trusts these networks.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether this peer is trusted.
    pub fn contains(&self, peer: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(peer))
    }

    /// The networks.
    pub fn networks(&self) -> &[Network] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str, prefix: u8) -> Network {
        Network::new(text.parse().unwrap(), prefix).unwrap()
    }

    #[test]
    fn a_network_holds_the_addresses_that_share_its_prefix() {
        let private = network("10.1.0.0", 16);
        assert!(private.contains("10.1.255.255".parse().unwrap()));
        assert!(!private.contains("10.2.0.0".parse().unwrap()));
        assert!(network("0.0.0.0", 0).contains("203.0.113.9".parse().unwrap()));
        assert!(network("::", 0).contains("2001:db8::1".parse().unwrap()));
        assert!(network("2001:db8::", 32).contains("2001:db8:ffff::1".parse().unwrap()));
        assert!(!network("2001:db8::", 32).contains("2001:db9::1".parse().unwrap()));
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_an_ipv4_address() {
        let local = Network::single("127.0.0.1".parse().unwrap());
        assert!(local.contains("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!local.contains("::1".parse().unwrap()));
        assert_eq!(local, Network::single("::ffff:127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_prefix_longer_than_the_address_is_no_network() {
        assert_eq!(Network::new("10.0.0.0".parse().unwrap(), 33), None);
        assert_eq!(Network::new("::".parse().unwrap(), 129), None);
    }
}
