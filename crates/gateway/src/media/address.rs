//! Which addresses are the internet's: all others are somebody's own, ours perhaps.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether anybody on the internet means the same by an address. What stands for an IPv4 address (mapped, NAT64, 6to4, Teredo, ISATAP) is no
/// such address, whatever it stands for.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let bits = address.to_bits();
            !OWN_V4.iter().any(|(net, length)| (bits ^ net.to_bits()) >> (32 - length) == 0)
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let is_in = |(net, length): &(Ipv6Addr, u32)| (bits ^ net.to_bits()) >> (128 - length) == 0;
            let is_isatap = matches!(address.segments(), [_, _, _, _, 0 | 0x200, 0x5efe, _, _]);
            is_in(&UNICAST) && !OWN_V6.iter().any(is_in) && !is_isatap
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

const fn v6(a: u16, b: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0)
}

/// IANA's registry of special-purpose IPv4 addresses, multicast, what is reserved, and Azure's address for its machines.
const OWN_V4: [(Ipv4Addr, u32); 17] = [
    (v4(0, 0, 0, 0), 8),
    (v4(10, 0, 0, 0), 8),
    (v4(100, 64, 0, 0), 10),
    (v4(127, 0, 0, 0), 8),
    // The metadata of AWS, Google, Azure and others is here.
    (v4(169, 254, 0, 0), 16),
    (v4(172, 16, 0, 0), 12),
    (v4(192, 0, 0, 0), 24),
    (v4(192, 0, 2, 0), 24),
    (v4(192, 52, 193, 0), 24),
    (v4(192, 88, 99, 0), 24),
    (v4(192, 168, 0, 0), 16),
    (v4(198, 18, 0, 0), 15),
    (v4(198, 51, 100, 0), 24),
    (v4(203, 0, 113, 0), 24),
    (v4(224, 0, 0, 0), 4),
    (v4(240, 0, 0, 0), 4),
    (v4(168, 63, 129, 16), 32),
];

/// All that is given out of IPv6 to be reached: loopback, mapped addresses, NAT64, unique local and link-local ones and multicast are outside.
const UNICAST: (Ipv6Addr, u32) = (v6(0x2000, 0), 3);

/// Within it: the IETF's protocols (Teredo among them), 6to4, and what stands in documents.
const OWN_V6: [(Ipv6Addr, u32); 4] =
    [(v6(0x2001, 0), 23), (v6(0x2001, 0xdb8), 32), (v6(0x2002, 0), 16), (v6(0x3fff, 0), 20)];

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and the last address of a net, and those beside it, are told apart.
    #[test]
    fn addresses_of_the_internet_are_told_from_all_others() {
        let public = "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 \
             169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.167.255.255 198.17.255.255 198.20.0.0 \
             223.255.255.255 168.63.129.15 168.63.129.17 2606:4700:4700::1111 2001:4860:4860::8888 2001:200::1 2003::1 3ffe::1";
        let own = "0.0.0.0 0.1.2.3 10.0.0.0 10.255.255.255 100.64.0.0 100.100.100.200 100.127.255.255 127.0.0.1 \
             127.255.255.255 168.63.129.16 169.254.0.0 169.254.169.254 169.254.170.2 172.16.0.0 172.31.255.255 \
             192.0.0.192 192.0.2.1 192.52.193.1 192.88.99.1 192.168.1.1 198.18.0.0 198.19.255.255 198.51.100.1 \
             203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::7f00:1 ::ffff:127.0.0.1 \
             ::ffff:8.8.8.8 64:ff9b::a9fe:a9fe 64:ff9b:1::a00:1 100::1 2001::1 2001:2::1 2001:10::1 2001:db8::1 \
             2002:7f00:1:: 2002:808:808::1 3fff:fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 \
             2606:4700::5efe:a00:1 2606:4700::200:5efe:a00:1";
        for (addresses, expected) in [(public, true), (own, false)] {
            for address in addresses.split_whitespace() {
                assert_eq!(is_public(address.parse().expect("is an address")), expected, "{address}");
            }
        }
    }
}
