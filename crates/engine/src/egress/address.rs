//! Which addresses belong to the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Answers a platform's virtual machines only, at an address that looks public (Azure's wire server).
const AZURE_WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Whether an address belongs to the public internet (IANA special-purpose registries, RFC 6890). Forms that carry
/// an IPv4 address inside an IPv6 one (mapped, 6to4, Teredo, NAT64) never do: where they lead is another's choice.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || ip == AZURE_WIRE_SERVER
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b)))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    // Global unicast is 2000::/3; out of it come protocol assignments with Teredo and ORCHID, documentation, and 6to4.
    s[0] & 0xe000 == 0x2000
        && !(s[0] == 0x2001 && s[1] < 0x0200)
        && !(s[0] == 0x2001 && s[1] == 0x0db8)
        && s[0] != 0x2002
        && !(s[0] == 0x3fff && s[1] < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "168.63.129.16",
            "192.88.99.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:808:808::",
            "2001::1",
            "2001:20::1",
            "2001:db8::1",
            "3fff::1",
            "ff02::1",
            "100::1",
            "5f00::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "8.8.8.8",
            "100.128.0.1",
            "100.63.255.255",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "2001:4860:4860::8888",
            "3fff:1000::1",
        ] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    /// Networks as their registries write them, independently of the code above.
    const SPECIAL_V4: [(&str, u32); 16] = [
        ("0.0.0.0", 8),
        ("10.0.0.0", 8),
        ("100.64.0.0", 10),
        ("127.0.0.0", 8),
        ("169.254.0.0", 16),
        ("172.16.0.0", 12),
        ("192.0.0.0", 24),
        ("192.0.2.0", 24),
        ("192.88.99.0", 24),
        ("192.168.0.0", 16),
        ("198.18.0.0", 15),
        ("198.51.100.0", 24),
        ("203.0.113.0", 24),
        ("224.0.0.0", 4),
        ("240.0.0.0", 4),
        ("168.63.129.16", 32),
    ];

    proptest! {
        #[test]
        fn every_ipv4_address_is_as_the_registries_say(bits: u32, network in 0usize..32) {
            // Half of the cases lie in or right beside a special network.
            let near = SPECIAL_V4.get(network).map_or(bits, |(base, length)| {
                let base = u32::from(base.parse::<Ipv4Addr>().unwrap());
                base ^ (bits & (u32::MAX.checked_shr(*length).unwrap_or(0) << 1 | 1))
            });
            let special = SPECIAL_V4.iter().any(|(base, length)| {
                let base = u32::from(base.parse::<Ipv4Addr>().unwrap());
                (near ^ base).checked_shr(32 - length).unwrap_or(0) == 0
            });
            let ip = Ipv4Addr::from(near);
            prop_assert_eq!(is_public(ip.into()), !special, "{}", ip);
        }

        #[test]
        fn no_ipv6_address_hides_an_ipv4_address(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let [a, b] = [(bits >> 16) as u16, bits as u16];
            for v6 in [
                v4.to_ipv6_mapped(),
                v4.to_ipv6_compatible(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, a, b),
                Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, a, b),
            ] {
                prop_assert!(!is_public(v6.into()), "{}", v6);
            }
        }

        #[test]
        fn only_global_unicast_is_public(bits: u128) {
            let ip = Ipv6Addr::from(bits);
            prop_assert!(!is_public(ip.into()) || bits >> 125 == 1, "{}", ip);
        }
    }
}
