//! How often wrong credentials may be tried: by address, and by address and user.
//!
//! Never by user alone: nobody can lock a user out from elsewhere. Credentials that were right a while ago from the same address are
//! always looked at, so whoever works goes on while somebody else guesses on the same host. What is refused is not looked at, and costs
//! nothing. Times are arguments.
//!
//! Limits: [`PLACES_MAX`] addresses and pairs, and as many credentials, of which only keyed hashes are kept. Where there are more, those
//! that have nothing left to pay go first, then all: an attacker with so many addresses is not slowed by this.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Things that are remembered of each kind.
const PLACES_MAX: usize = 50_000;
/// How long credentials count as right without having been right again.
const KNOWN_FOR: Duration = Duration::from_secs(3_600);

/// How much wrong there may be, and how fast it is forgotten.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    failures: f64,
    forgotten_a_second: f64,
}

/// From one address for one user.
const PAIR: Allowance = Allowance {
    failures: 20.0,
    forgotten_a_second: 1.0,
};
/// From one address.
const ADDRESS: Allowance = Allowance {
    failures: 200.0,
    forgotten_a_second: 20.0,
};

/// Who tries to log in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) address: IpAddr,
    pub(crate) user: &'a str,
    pub(crate) password: &'a [u8],
}

/// What was tried lately.
#[derive(Debug, Default)]
pub(crate) struct LoginRate {
    keys: RandomState,
    tried: Mutex<Tried>,
}

#[derive(Debug, Default)]
struct Tried {
    /// By the hashes of addresses, and of addresses with users.
    debts: HashMap<u64, Debt>,
    /// When credentials were right, by the hashes of addresses, users and passwords.
    right: HashMap<u64, Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Debt {
    failures: f64,
    at: Instant,
    allowance: Allowance,
}

impl Debt {
    fn now(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.failures - passed * self.allowance.forgotten_a_second).max(0.0)
    }
}

impl LoginRate {
    /// Whether an attempt is looked at.
    ///
    /// # Errors
    /// Too much was wrong; how long it takes until the next attempt is looked at.
    pub(crate) fn admit(&self, attempt: Attempt<'_>, now: Instant) -> Result<(), Duration> {
        let (places, credentials) = self.hashes(attempt);
        let tried = self.tried.lock();
        let is_known = |right: &Instant| now.saturating_duration_since(*right) < KNOWN_FOR;
        if tried.right.get(&credentials).is_some_and(is_known) {
            return Ok(());
        }
        let waits = places.iter().filter_map(|(place, allowance)| {
            let above = tried.debts.get(place)?.now(now) + 1.0 - allowance.failures;
            let wait = above / allowance.forgotten_a_second;
            (above > 0.0).then(|| Duration::from_secs_f64(wait))
        });
        waits.max().map_or(Ok(()), Err)
    }

    /// What became of an attempt that was looked at.
    pub(crate) fn settle(&self, attempt: Attempt<'_>, is_right: bool, now: Instant) {
        let (places, credentials) = self.hashes(attempt);
        let mut tried = self.tried.lock();
        if is_right {
            let is_known = |right: &Instant| now.saturating_duration_since(*right) < KNOWN_FOR;
            make_room(&mut tried.right, is_known);
            tried.right.insert(credentials, now);
            return;
        }
        tried.right.remove(&credentials);
        for (place, allowance) in places {
            make_room(&mut tried.debts, |debt| debt.now(now) > 0.0);
            let before = tried.debts.get(&place).map_or(0.0, |debt| debt.now(now));
            let debt = Debt {
                failures: before + 1.0,
                at: now,
                allowance,
            };
            tried.debts.insert(place, debt);
        }
    }

    fn hashes(&self, attempt: Attempt<'_>) -> ([(u64, Allowance); 2], u64) {
        let Attempt {
            address,
            user,
            password,
        } = attempt;
        let address = network(address);
        let places = [
            (self.keys.hash_one(address), ADDRESS),
            (self.keys.hash_one((address, user)), PAIR),
        ];
        (places, self.keys.hash_one((address, user, password)))
    }
}

/// Forgets what is not needed, if it is too much, and then everything.
fn make_room<V>(known: &mut HashMap<u64, V>, is_needed: impl Fn(&V) -> bool) {
    if known.len() < PLACES_MAX {
        return;
    }
    known.retain(|_, value| is_needed(value));
    if known.len() > PLACES_MAX / 2 {
        known.clear();
    }
}

/// What one client has of addresses: of IPv6 a whole network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            Ipv6Addr::from(network).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from<'a>(address: &str, user: &'a str, password: &'a [u8]) -> Attempt<'a> {
        Attempt {
            address: address.parse().unwrap(),
            user,
            password,
        }
    }

    /// How many of these are looked at before one is not.
    fn tries(rate: &LoginRate, now: Instant, attempt: impl Fn(u32) -> (String, String)) -> u32 {
        (0..1_000)
            .take_while(|number| {
                let (address, user) = attempt(*number);
                let attempt = from(&address, &user, b"wrong");
                let admitted = rate.admit(attempt, now).is_ok();
                if admitted {
                    rate.settle(attempt, false, now);
                }
                admitted
            })
            .count() as u32
    }

    #[test]
    fn guesses_are_slowed_by_address_and_user_and_nobody_is_locked_out() {
        let (rate, now) = (LoginRate::default(), Instant::now());
        let right = from("10.0.0.1", "guest", b"right");
        rate.settle(right, true, now);
        let same = |_| ("10.0.0.1".to_owned(), "guest".to_owned());
        assert_eq!(tries(&rate, now, same), 20);
        let wait = rate
            .admit(from("10.0.0.1", "guest", b"new"), now)
            .unwrap_err();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        assert!(rate.admit(right, now).is_ok(), "it was right before");
        assert!(rate.admit(from("10.0.0.2", "guest", b"new"), now).is_ok());
        assert!(rate.admit(from("10.0.0.1", "other", b"new"), now).is_ok());
        let later = now + Duration::from_secs(5);
        assert_eq!(tries(&rate, later, same), 5);
        rate.settle(right, false, later);
        assert!(rate.admit(right, later).is_err(), "it is no longer right");
    }

    #[test]
    fn guesses_for_many_users_are_slowed_by_address() {
        let (rate, now) = (LoginRate::default(), Instant::now());
        let many = |number| ("10.0.0.1".to_owned(), format!("user{number}"));
        assert_eq!(tries(&rate, now, many), 200);
        let near = |number| (format!("2001:db8::{number:x}"), format!("user{number}"));
        assert_eq!(tries(&rate, now, near), 200);
        let far = |number| (format!("2001:db8:1:{number:x}::1"), "guest".to_owned());
        assert_eq!(tries(&rate, now, far), 1_000);
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let (rate, now) = (LoginRate::default(), Instant::now());
        for number in 0..PLACES_MAX as u32 + 10 {
            let address = std::net::Ipv4Addr::from(number).to_string();
            rate.settle(from(&address, "guest", b"wrong"), false, now);
            rate.settle(from(&address, "guest", b"right"), true, now);
        }
        let tried = rate.tried.lock();
        assert!(tried.debts.len() <= PLACES_MAX && tried.right.len() <= PLACES_MAX);
    }
}
