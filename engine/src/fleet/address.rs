//! Addresses as numbers: IPv4 stands in IPv6's mapped space, so that one order, one comparison and
//! one form serve both, and an IPv4 peer of an IPv6 socket is the same address (B-ID-3).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// Bits that stand before an IPv4 address in IPv6's mapped space.
const MAPPED_BITS: u8 = 96;

/// The number of an address.
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of a number.
pub(super) fn address(number: u128) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits(number)).to_canonical()
}

/// The addresses that share a prefix, both ends included; one address at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Block {
    pub(super) first: u128,
    pub(super) last: u128,
}

/// Why a text names no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidBlock {
    /// Neither an address nor a prefix.
    #[error("no IP address or prefix")]
    Form,
    /// A prefix whose address goes on behind it.
    #[error("bits are set behind the prefix; the prefix is {0}")]
    HostBits(IpNet),
}

impl Block {
    /// The block of all addresses that share `first`'s bits but for the last `free_bits`.
    pub(super) fn new(first: u128, free_bits: u8) -> Self {
        Self {
            first,
            last: first | ones(free_bits),
        }
    }

    /// The block of this width that an address lies in.
    pub(super) fn around(address: u128, free_bits: u8) -> Self {
        Self::new(address & !ones(free_bits), free_bits)
    }

    /// Whether the address is in it.
    pub(super) fn contains(&self, number: u128) -> bool {
        (self.first..=self.last).contains(&number)
    }

    /// Whether it is one address alone.
    pub(super) fn is_single(&self) -> bool {
        self.first == self.last
    }

    /// How many of its addresses are in no earlier one than `first`, saturating.
    pub(super) fn size(&self) -> u128 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// The bits of an address that differ within it.
    pub(super) fn free_bits(&self) -> u8 {
        u8::try_from(128 - (self.first ^ self.last).leading_zeros()).unwrap_or(128)
    }

    /// Whether it holds IPv4 addresses, and no others.
    pub(super) fn is_ipv4(&self) -> bool {
        address(self.first).is_ipv4() && address(self.last).is_ipv4()
    }
}

/// A number of `count` ones.
fn ones(count: u8) -> u128 {
    u128::MAX
        .checked_shr(128_u32.saturating_sub(u32::from(count)))
        .unwrap_or(0)
}

impl FromStr for Block {
    type Err = InvalidBlock;

    fn from_str(text: &str) -> Result<Self, InvalidBlock> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::new(number(address), 0));
        }
        let prefix: IpNet = text.parse().map_err(|_| InvalidBlock::Form)?;
        if prefix.addr() != prefix.network() {
            return Err(InvalidBlock::HostBits(prefix.trunc()));
        }
        let free_bits = prefix.max_prefix_len().saturating_sub(prefix.prefix_len());
        Ok(Self::new(number(prefix.network()), free_bits))
    }
}

impl fmt::Display for Block {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() {
            return write!(formatter, "{}", address(self.first));
        }
        let bits = 128_u8.saturating_sub(self.free_bits());
        if self.is_ipv4() {
            write!(
                formatter,
                "{}/{}",
                address(self.first),
                bits.saturating_sub(MAPPED_BITS)
            )
        } else {
            write!(formatter, "{}/{bits}", Ipv6Addr::from_bits(self.first))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_and_written_alike() {
        let check = |text: &str, expected: Result<(&str, u128), &str>| {
            let block = text.parse::<Block>();
            let found = block.map(|block| (block.to_string(), block.size()));
            assert_eq!(
                found.map_err(|error| error.to_string()),
                expected
                    .map(|(shown, size)| (shown.to_owned(), size))
                    .map_err(|error| error.to_owned()),
                "{text}"
            );
        };
        check("10.0.0.1", Ok(("10.0.0.1", 1)));
        check("10.0.0.1/32", Ok(("10.0.0.1", 1)));
        check("::ffff:10.0.0.1", Ok(("10.0.0.1", 1)));
        check("10.0.0.0/8", Ok(("10.0.0.0/8", 1 << 24)));
        check("0.0.0.0/0", Ok(("0.0.0.0/0", 1 << 32)));
        check("::ffff:10.0.0.0/104", Ok(("10.0.0.0/8", 1 << 24)));
        check("2001:db8::/64", Ok(("2001:db8::/64", 1 << 64)));
        check("2001:db8::1", Ok(("2001:db8::1", 1)));
        check("::/0", Ok(("::/0", u128::MAX)));
        check(
            "10.0.0.1/8",
            Err("bits are set behind the prefix; the prefix is 10.0.0.0/8"),
        );
        check("10.0.0/8", Err("no IP address or prefix"));
        check("10.0.0.0/33", Err("no IP address or prefix"));
        check("", Err("no IP address or prefix"));
    }
}
