//! Which address of a subnet goes to whom. Pure: no file, no kernel.
//!
//! Addresses are given out in ascending order from a cursor that runs round the range, so that one
//! that was just released is the last to be given out again: peers, ARP caches and connection
//! tables have time to forget its former owner.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::error::Error;
use crate::subnet::{Subnet, from_number, number};

/// The addresses of one subnet.
#[derive(Debug, Clone)]
pub struct Ipam {
    subnet: Subnet,
    low: u128,
    high: u128,
    used: BTreeSet<u128>,
    cursor: u128,
    last_released: Option<u128>,
}

impl Ipam {
    /// Addresses of `subnet`, of which only those of `range` are given out when none is asked for
    /// by name.
    ///
    /// # Errors
    /// `Invalid` if the range isn't part of the subnet.
    pub fn new(subnet: Subnet, range: Option<Subnet>) -> Result<Self, Error> {
        let (low, high) = subnet.usable();
        let (low, high) = match range {
            Some(range) if !subnet.contains_subnet(&range) => {
                return Err(Error::invalid(format!(
                    "ip-range {range} is not part of subnet {subnet}"
                )));
            }
            Some(range) => (
                low.max(number(range.network())),
                high.min(number(range.last())),
            ),
            None => (low, high),
        };
        Ok(Self {
            subnet,
            low,
            high,
            used: BTreeSet::new(),
            cursor: low,
            last_released: None,
        })
    }

    /// The subnet.
    #[must_use]
    pub fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// The next free address, or `None` if all are taken.
    pub fn allocate(&mut self) -> Option<IpAddr> {
        if !(self.low..=self.high).contains(&self.cursor) {
            self.cursor = self.low;
        }
        let mut free = self.search(self.cursor)?;
        if self.last_released == Some(free) {
            free = self.search(free.wrapping_add(1)).unwrap_or(free);
        }
        self.used.insert(free);
        self.cursor = free.wrapping_add(1);
        Some(from_number(free, self.subnet.is_ipv4()))
    }

    /// Takes a certain address.
    ///
    /// # Errors
    /// `AddressOutside` if no host of the subnet may have it, `AddressInUse` if it is taken.
    pub fn reserve(&mut self, ip: IpAddr) -> Result<(), Error> {
        let (low, high) = self.subnet.usable();
        if ip.is_ipv4() != self.subnet.is_ipv4() || !(low..=high).contains(&number(ip)) {
            return Err(Error::AddressOutside(ip));
        }
        if !self.used.insert(number(ip)) {
            return Err(Error::AddressInUse(ip));
        }
        Ok(())
    }

    /// Gives an address back; one that isn't taken is no error.
    pub fn release(&mut self, ip: IpAddr) {
        if ip.is_ipv4() == self.subnet.is_ipv4() {
            let number = number(ip);
            if self.used.remove(&number) {
                self.last_released = Some(number);
            }
        }
    }

    /// Whether an address is taken.
    #[must_use]
    pub fn is_used(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.subnet.is_ipv4() && self.used.contains(&number(ip))
    }

    /// Where the search for the next address begins: to be saved, and given to
    /// [`Ipam::set_cursor`] after a restart.
    #[must_use]
    pub fn cursor(&self) -> IpAddr {
        from_number(self.cursor, self.subnet.is_ipv4())
    }

    /// Moves the start of the search; an address outside of the range is ignored.
    pub fn set_cursor(&mut self, ip: IpAddr) {
        if ip.is_ipv4() == self.subnet.is_ipv4() && (self.low..=self.high).contains(&number(ip)) {
            self.cursor = number(ip);
        }
    }

    /// The first free address from `start` on, round the range.
    fn search(&self, start: u128) -> Option<u128> {
        self.first_free(start, self.high)
            .or_else(|| self.first_free(self.low, start.checked_sub(1)?.min(self.high)))
    }

    /// The lowest free address in `from..=to`: the first gap in the run of used ones at `from`.
    fn first_free(&self, from: u128, to: u128) -> Option<u128> {
        if from > to {
            return None;
        }
        let mut candidate = from;
        for used in self.used.range(from..=to) {
            if *used != candidate {
                break;
            }
            candidate = candidate.checked_add(1)?;
        }
        (candidate <= to).then_some(candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pool(subnet: &str) -> Ipam {
        Ipam::new(subnet.parse().unwrap(), None).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ascending_and_rotating() {
        let mut pool = pool("10.0.0.0/29");
        pool.reserve(ip("10.0.0.1")).unwrap();
        assert_eq!(pool.allocate(), Some(ip("10.0.0.2")));
        assert_eq!(pool.allocate(), Some(ip("10.0.0.3")));
        pool.release(ip("10.0.0.2"));
        assert_eq!(pool.allocate(), Some(ip("10.0.0.4")));
        assert_eq!(pool.allocate(), Some(ip("10.0.0.5")));
        assert_eq!(pool.allocate(), Some(ip("10.0.0.6")));
        assert_eq!(pool.allocate(), Some(ip("10.0.0.2")));
        assert_eq!(pool.allocate(), None);
    }

    #[test]
    fn refuses_what_is_no_host() {
        let mut pool = pool("10.0.0.0/24");
        for bad in ["10.0.0.0", "10.0.0.255", "10.0.1.1", "fd00::1"] {
            assert!(
                matches!(pool.reserve(ip(bad)), Err(Error::AddressOutside(_))),
                "{bad}"
            );
        }
        pool.reserve(ip("10.0.0.7")).unwrap();
        assert!(matches!(
            pool.reserve(ip("10.0.0.7")),
            Err(Error::AddressInUse(_))
        ));
    }

    #[test]
    fn small_and_large_subnets() {
        let mut one = pool("10.0.0.9/32");
        assert_eq!(
            (one.allocate(), one.allocate()),
            (Some(ip("10.0.0.9")), None)
        );
        let mut two = pool("10.0.0.8/31");
        assert_eq!(two.allocate(), Some(ip("10.0.0.8")));
        assert_eq!(
            (two.allocate(), two.allocate()),
            (Some(ip("10.0.0.9")), None)
        );
        let mut huge = pool("::/0");
        assert_eq!(huge.allocate(), Some(ip("::1")));
        huge.set_cursor(ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
        assert_eq!(
            huge.allocate(),
            Some(ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))
        );
        assert_eq!(huge.allocate(), Some(ip("::2")));
    }

    #[test]
    fn a_range_limits_what_is_given_out_but_not_what_may_be_asked_for() {
        let range = Some("10.0.0.128/30".parse().unwrap());
        let mut pool = Ipam::new("10.0.0.0/24".parse().unwrap(), range).unwrap();
        let given: Vec<_> = std::iter::from_fn(|| pool.allocate()).collect();
        assert_eq!(
            given,
            ["10.0.0.128", "10.0.0.129", "10.0.0.130", "10.0.0.131"].map(ip)
        );
        pool.reserve(ip("10.0.0.5")).unwrap();
        assert!(
            Ipam::new(
                "10.0.0.0/24".parse().unwrap(),
                Some("10.0.1.0/25".parse().unwrap())
            )
            .is_err()
        );
    }

    #[derive(Debug, Clone)]
    enum Op {
        Allocate,
        Reserve(u8),
        Release(u8),
        Restart,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => Just(Op::Allocate),
            1 => any::<u8>().prop_map(Op::Reserve),
            3 => any::<u8>().prop_map(Op::Release),
            1 => Just(Op::Restart),
        ]
    }

    proptest! {
        #[test]
        fn no_address_has_two_owners(v6 in any::<bool>(), prefix in 24u8..=30, ops in prop::collection::vec(op(), 0..200)) {
            let base = if v6 { "fd00::" } else { "10.0.0.0" };
            let prefix = if v6 { prefix + 96 } else { prefix };
            let subnet: Subnet = format!("{base}/{prefix}").parse().unwrap();
            let (low, high) = subnet.usable();
            let address = |n: u8| from_number(number(subnet.network()) + u128::from(n), !v6);
            let mut pool = Ipam::new(subnet, None).unwrap();
            let mut model = BTreeSet::new();
            let mut last_released = None;
            for op in ops {
                match op {
                    Op::Allocate => match pool.allocate() {
                        Some(ip) => {
                            prop_assert!((low..=high).contains(&number(ip)));
                            prop_assert!(model.insert(ip), "given out twice: {}", ip);
                            // Not the one that was just released, as long as another was free.
                            let full = model.len() as u128 == high - low + 1;
                            prop_assert!(last_released != Some(ip) || full, "used again at once: {}", ip);
                        }
                        None => prop_assert_eq!(model.len() as u128, high - low + 1),
                    },
                    Op::Reserve(n) => {
                        let inside = (low..=high).contains(&number(address(n)));
                        let free = inside && !model.contains(&address(n));
                        prop_assert_eq!(pool.reserve(address(n)).is_ok(), free);
                        if free { model.insert(address(n)); }
                    }
                    Op::Release(n) => {
                        pool.release(address(n));
                        if model.remove(&address(n)) { last_released = Some(address(n)); }
                    }
                    Op::Restart => {
                        let mut again = Ipam::new(subnet, None).unwrap();
                        for ip in &model { again.reserve(*ip).unwrap(); }
                        again.set_cursor(pool.cursor());
                        last_released = None;
                        pool = again;
                    }
                }
                for ip in &model { prop_assert!(pool.is_used(*ip)); }
            }
        }
    }
}
