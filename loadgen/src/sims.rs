//! SIMs: which source address each connection comes from, and which IMSI that address stands for.

use std::net::IpAddr;

use ipnet::IpNet;

/// Why the SIMs of a run are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// None was named.
    #[error("--sims: at least one network is needed, such as 127.1.0.0/16")]
    None,
    /// IMSI bases do not fit the networks.
    #[error(
        "--imsi-base: {bases} given for {networks} networks; give one for each network of --sims, in order"
    )]
    Bases {
        /// How many IMSI bases.
        bases: usize,
        /// How many networks.
        networks: usize,
    },
    /// An IMSI base is too large.
    #[error("--imsi-base: the last IMSI of {network} would have more than 15 digits")]
    Imsi {
        /// The network.
        network: IpNet,
    },
}

/// One SIM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sim {
    /// Where its connections come from.
    pub address: IpAddr,
    /// Its IMSI, where the network's base is known.
    pub imsi: Option<u64>,
}

/// Networks of source addresses, one SIM an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sims {
    networks: Vec<(IpNet, Option<u64>)>,
}

impl Sims {
    /// Networks, and for each the IMSI of its address number 0, or none for any.
    ///
    /// # Errors
    /// When they do not fit each other.
    pub fn new(networks: &[IpNet], imsi_bases: &[u64]) -> Result<Self, Refused> {
        if networks.is_empty() {
            return Err(Refused::None);
        }
        if !imsi_bases.is_empty() && imsi_bases.len() != networks.len() {
            return Err(Refused::Bases {
                bases: imsi_bases.len(),
                networks: networks.len(),
            });
        }
        let networks: Vec<_> = networks
            .iter()
            .enumerate()
            .map(|(index, network)| (network.trunc(), imsi_bases.get(index).copied()))
            .collect();
        for (network, base) in &networks {
            let last = base.unwrap_or_default().checked_add(count(network));
            if last.is_none_or(|last| last >= IMSI_END) {
                return Err(Refused::Imsi { network: *network });
            }
        }
        Ok(Self { networks })
    }

    /// How many SIMs there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.networks
            .iter()
            .map(|(network, _)| count(network))
            .sum()
    }

    /// The networks.
    #[must_use]
    pub fn networks(&self) -> Vec<IpNet> {
        self.networks.iter().map(|(network, _)| *network).collect()
    }

    /// The SIM of connection `number`, counted from 1. Beyond the last SIM they begin again: those have several connections.
    #[must_use]
    pub fn of(&self, number: u32) -> Option<Sim> {
        let mut index = u64::from(number.checked_sub(1)?).checked_rem(self.count())?;
        for (network, base) in &self.networks {
            let here = count(network);
            if index < here {
                // Address number 0 names the network; a network of one address has no other.
                let offset = if here == 1 && network.max_prefix_len() == network.prefix_len() {
                    0
                } else {
                    index + 1
                };
                return Some(Sim {
                    address: address(network, offset)?,
                    imsi: base.map(|base| base + offset),
                });
            }
            index -= here;
        }
        None
    }
}

const IMSI_END: u64 = 1_000_000_000_000_000;

/// Addresses in use of a network: all but its first, and of IPv4 its last.
fn count(network: &IpNet) -> u64 {
    let bits = network.max_prefix_len() - network.prefix_len();
    match (network, bits) {
        (_, 0) => 1,
        (IpNet::V4(_), 1) => 1,
        (IpNet::V4(_), _) => (1 << bits) - 2,
        (IpNet::V6(_), _) => (1_u64 << bits.min(32)) - 1,
    }
}

fn address(network: &IpNet, offset: u64) -> Option<IpAddr> {
    match network {
        IpNet::V4(network) => {
            let base = u32::from(network.network());
            let offset = u32::try_from(offset).ok()?;
            Some(IpAddr::V4(base.checked_add(offset)?.into()))
        }
        IpNet::V6(network) => {
            let base = u128::from(network.network());
            Some(IpAddr::V6(base.checked_add(offset.into())?.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sims(networks: &[&str], bases: &[u64]) -> Result<Sims, Refused> {
        let networks: Vec<IpNet> = networks.iter().map(|text| text.parse().unwrap()).collect();
        Sims::new(&networks, bases)
    }

    #[test]
    fn connections_count_through_the_networks() {
        let sims = sims(
            &["127.1.0.0/29", "10.0.0.9/32", "fd00::/126"],
            &[100, 200, 300],
        )
        .unwrap();
        assert_eq!(sims.count(), 6 + 1 + 3);
        let found: Vec<_> = (1..=11)
            .map(|number| {
                let sim = sims.of(number).unwrap();
                (sim.address.to_string(), sim.imsi.unwrap())
            })
            .collect();
        let expected = [
            ("127.1.0.1", 101),
            ("127.1.0.2", 102),
            ("127.1.0.3", 103),
            ("127.1.0.4", 104),
            ("127.1.0.5", 105),
            ("127.1.0.6", 106),
            ("10.0.0.9", 200),
            ("fd00::1", 301),
            ("fd00::2", 302),
            ("fd00::3", 303),
            ("127.1.0.1", 101),
        ];
        assert_eq!(
            found,
            expected.map(|(address, imsi)| (address.to_owned(), imsi))
        );
        assert_eq!(sims.of(0), None);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(sims(&[], &[]), Err(Refused::None));
        let two = Refused::Bases {
            bases: 1,
            networks: 2,
        };
        assert_eq!(sims(&["127.1.0.0/16", "127.2.0.0/16"], &[1]), Err(two));
        assert!(matches!(
            sims(&["127.1.0.0/16"], &[999_999_999_999_999]),
            Err(Refused::Imsi { .. })
        ));
        let unknown = sims(&["127.1.0.0/16", "127.2.0.0/16"], &[]).unwrap();
        assert_eq!(unknown.of(1).unwrap().imsi, None);
    }
}
