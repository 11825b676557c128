//! Who is at the other end, behind proxies or not (`spec/worker-api.md` section 1.6).

use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;

use crate::config::TrustedProxies;

/// Longest text that is kept of a forwarded address that isn't one.
const MAX_ADDRESS: usize = 64;

/// The address without a port: bare, `ipv4:port` or `[ipv6]:port`.
fn without_port(entry: &str) -> &str {
    if let Some(inside) = entry.strip_prefix('[') {
        return inside.split(']').next().unwrap_or_default();
    }
    match entry.split_once(':') {
        Some((address, port)) if !port.contains(':') => address,
        _ => entry,
    }
}

/// The client's address from a peer and the `X-Forwarded-For` headers, joined by commas.
fn forwarded(peer: IpAddr, chain: &str, trusted: &TrustedProxies) -> String {
    let entries = || chain.split(',').map(|entry| without_port(entry.trim()));
    let is_proxy = |entry: &&str| entry.parse().is_ok_and(|address| trusted.contains(address));
    let found = entries().rev().find(|entry| !is_proxy(entry)).or_else(|| entries().next());
    match found {
        None | Some("") => peer.to_string(),
        Some(entry) => match entry.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().to_string(),
            Err(_) => entry.chars().take(MAX_ADDRESS).collect(),
        },
    }
}

fn trusted_peer(request: &HttpRequest, trusted: &TrustedProxies) -> (IpAddr, bool) {
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let peer = peer.to_canonical();
    (peer, trusted.contains(peer))
}

/// The address of whoever sent the request, as text.
pub fn remote_addr(request: &HttpRequest, trusted: &TrustedProxies) -> String {
    let (peer, believed) = trusted_peer(request, trusted);
    if !believed || !request.headers().contains_key("x-forwarded-for") {
        return peer.to_string();
    }
    let headers: Vec<&str> =
        request.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok()).collect();
    forwarded(peer, &headers.join(", "), trusted)
}

/// `scheme://host` as the client sees this server; None if it didn't say which host it wants.
pub fn host_url(request: &HttpRequest, trusted: &TrustedProxies) -> Option<String> {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let (_, believed) = trusted_peer(request, trusted);
    let scheme = match text("x-forwarded-proto") {
        Some(scheme @ ("http" | "https")) if believed => scheme,
        _ => "http",
    };
    let host = text("host").filter(|host| !host.is_empty())?;
    Some(format!("{scheme}://{host}"))
}

/// Two capital letters, or `?`. `ZZ` is what geographers of addresses say when they don't know.
pub fn country(request: &HttpRequest) -> &str {
    match request.headers().get("x-country-code").and_then(|value| value.to_str().ok()) {
        Some(code) if code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase()) && code != "ZZ" => code,
        _ => "?",
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::config::Network;

    fn nets(networks: &[(&str, u8)]) -> TrustedProxies {
        let network = |(address, bits): &(&str, u8)| Network::new(address.parse().unwrap(), *bits).unwrap();
        TrustedProxies::new(networks.iter().map(network).collect())
    }

    #[test]
    fn the_first_untrusted_address_from_the_right_is_the_clients() {
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        let trusted = nets(&[("127.0.0.1", 32), ("10.0.0.0", 8)]);
        let cases = [
            ("203.0.113.9", "203.0.113.9"),
            ("198.51.100.1, 203.0.113.9", "203.0.113.9"),
            ("203.0.113.9, 10.0.0.2, 127.0.0.1", "203.0.113.9"),
            ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("", "127.0.0.1"),
            ("203.0.113.9, ", "127.0.0.1"),
            ("203.0.113.9, unknown", "unknown"),
        ];
        for (chain, client) in cases {
            assert_eq!(forwarded(peer, chain, &trusted), client, "{chain:?}");
        }
    }

    #[test]
    fn strangers_are_not_believed() {
        let trusted = nets(&[("127.0.0.1", 32)]);
        let request = |peer: &str| {
            TestRequest::default()
                .peer_addr(format!("{peer}:5000").parse().unwrap())
                .insert_header(("x-forwarded-for", "203.0.113.9"))
                .insert_header(("x-forwarded-proto", "https"))
                .insert_header(("host", "farm.example"))
                .to_http_request()
        };
        let stranger = request("198.51.100.7");
        assert_eq!(remote_addr(&stranger, &trusted), "198.51.100.7");
        assert_eq!(host_url(&stranger, &trusted).as_deref(), Some("http://farm.example"));
        let proxied = request("127.0.0.1");
        assert_eq!(remote_addr(&proxied, &trusted), "203.0.113.9");
        assert_eq!(host_url(&proxied, &trusted).as_deref(), Some("https://farm.example"));
    }

    #[test]
    fn several_headers_are_one_list() {
        let request = TestRequest::default()
            .peer_addr("127.0.0.1:1".parse().unwrap())
            .append_header(("x-forwarded-for", "203.0.113.9"))
            .append_header(("x-forwarded-for", "127.0.0.1"))
            .to_http_request();
        assert_eq!(remote_addr(&request, &nets(&[("127.0.0.1", 32)])), "203.0.113.9");
    }

    #[test]
    fn countries_are_two_capitals_or_unknown() {
        for (header, stored) in [("DE", "DE"), ("ZZ", "?"), ("de", "?"), ("DEU", "?"), ("<b", "?"), ("", "?")]
        {
            let request = TestRequest::default().insert_header(("x-country-code", header)).to_http_request();
            assert_eq!(country(&request), stored, "{header:?}");
        }
        assert_eq!(country(&TestRequest::default().to_http_request()), "?");
    }
}
