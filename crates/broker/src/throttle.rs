//! How fast may be published: rates of a vhost, of a user and of a single connection.
//!
//! A rate is a token bucket that holds what one second allows. What was published is charged afterwards, so a bucket may go below
//! zero by one message; then whoever charged it waits until it is above zero again. Nothing is refused and nothing is dropped.
//!
//! Connections of one vhost or user share a bucket over all threads, as one atomic number: the time at which it will be full
//! again. A limit that changes begins with a full bucket. Who waits, and what waiting means, is the frontend's matter.

use crate::limits::{PublishRates, allowed};
use crate::metadata::Metadata;
use base::{Name, Now};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// What a bucket holds, as the time in which it fills.
pub const BURST: Duration = Duration::from_secs(1);

/// Shortest wait. What comes meanwhile goes on together, so that a high rate does not mean a timer for each message.
pub const PAUSE_MIN: Duration = Duration::from_millis(5);

/// Longest wait until the limits are looked at again.
pub const RECHECK: Duration = Duration::from_millis(500);

/// Something that was published, or a part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Messages.
    pub messages: u64,
    /// Bytes of bodies.
    pub bytes: u64,
}

/// The buckets that connections share.
#[derive(Debug, Default)]
pub struct SharedRates(Mutex<Shared>);

#[derive(Debug, Default)]
struct Shared {
    vhosts: HashMap<Name, Weak<Meter>>,
    users: HashMap<Name, Weak<Meter>>,
}

/// Two rates and how much of them is used up.
#[derive(Debug)]
struct Meter {
    rates: Rates,
    messages: Bucket,
    bytes: Bucket,
}

/// Messages and bytes a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rates {
    messages: Option<u64>,
    bytes: Option<u64>,
}

/// When it will be full, in nanoseconds of monotonic time.
#[derive(Debug, Default)]
struct Bucket(AtomicU64);

/// The limits of one connection, and until when it has to wait.
#[derive(Debug)]
pub struct Throttle {
    meters: Vec<Arc<Meter>>,
    /// How many of them are shared: the first.
    shared: usize,
    wait: Option<Wait>,
    /// It waited before.
    has_waited: bool,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    until: Duration,
    wake_at: Duration,
}

impl SharedRates {
    /// The limits of a connection, if there are any. `previous` is what held for it before.
    pub fn throttle(
        &self,
        metadata: &Metadata,
        user: &Name,
        vhost: &Name,
        previous: Option<&Throttle>,
    ) -> Option<Box<Throttle>> {
        let of_vhost = metadata.vhost(vhost).map(|vhost| vhost.limits.publish);
        let of_user = metadata.user(user).map(|user| user.limits.publish);
        let (of_vhost, of_user) = (of_vhost.unwrap_or_default(), of_user.unwrap_or_default());
        if of_vhost == PublishRates::default() && of_user == PublishRates::default() {
            return None;
        }
        let mut meters = Vec::new();
        {
            // Nothing panics while it is held, and a bucket would be right even then.
            let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            meters.extend(share(&mut shared.vhosts, vhost, Rates::shared(of_vhost)));
            meters.extend(share(&mut shared.users, user, Rates::shared(of_user)));
        }
        let shared = meters.len();
        for rates in [Rates::single(of_vhost), Rates::single(of_user)] {
            let known = previous.into_iter().flat_map(Throttle::own);
            let known = known.filter(|meter| meter.rates == rates).cloned();
            let meter = || Arc::new(Meter::new(rates));
            if rates.any() {
                meters.push({ known }.next().unwrap_or_else(meter));
            }
        }
        let throttle = Throttle {
            shared,
            wait: None,
            has_waited: false,
            meters,
        };
        (!throttle.meters.is_empty()).then(|| Box::new(throttle))
    }
}

/// The bucket of a vhost or a user, if it has such limits. Buckets that nobody uses are forgotten here.
fn share(known: &mut HashMap<Name, Weak<Meter>>, name: &Name, rates: Rates) -> Option<Arc<Meter>> {
    if !rates.any() {
        return None;
    }
    let current = known.get(name).and_then(Weak::upgrade);
    if let Some(meter) = current.filter(|meter| meter.rates == rates) {
        return Some(meter);
    }
    known.retain(|_, meter| meter.strong_count() > 0);
    let meter = Arc::new(Meter::new(rates));
    known.insert(name.clone(), Arc::downgrade(&meter));
    Some(meter)
}

impl Rates {
    fn shared(rates: PublishRates) -> Self {
        Self {
            messages: allowed(rates.messages),
            bytes: allowed(rates.bytes),
        }
    }

    fn single(rates: PublishRates) -> Self {
        Self {
            messages: allowed(rates.connection_messages),
            bytes: allowed(rates.connection_bytes),
        }
    }

    fn any(self) -> bool {
        self != Self::default()
    }
}

impl Meter {
    fn new(rates: Rates) -> Self {
        Self {
            rates,
            messages: Bucket::default(),
            bytes: Bucket::default(),
        }
    }

    /// The time from which on more may be published.
    fn charge(&self, now_ns: u64, published: Published) -> u64 {
        let messages = self.rates.messages.map_or(0, |rate| {
            self.messages.charge(now_ns, rate, published.messages)
        });
        let bytes = self
            .rates
            .bytes
            .map_or(0, |rate| self.bytes.charge(now_ns, rate, published.bytes));
        messages.max(bytes)
    }
}

impl Bucket {
    fn charge(&self, now_ns: u64, rate: u64, count: u64) -> u64 {
        if count == 0 {
            return 0;
        }
        if rate == 0 {
            return u64::MAX;
        }
        let cost_ns = u128::from(count) * 1_000_000_000 / u128::from(rate);
        let cost_ns = u64::try_from(cost_ns).unwrap_or(u64::MAX);
        let charged = |full_at: u64| full_at.max(now_ns).saturating_add(cost_ns);
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                Some(charged(full_at))
            })
            .unwrap_or_else(|full_at| full_at);
        charged(before).saturating_sub(nanoseconds(BURST))
    }
}

impl Throttle {
    fn own(&self) -> &[Arc<Meter>] {
        &self.meters[self.shared..]
    }

    /// Charges what was published. Afterwards the connection may have to wait.
    pub fn charge(&mut self, now: Now, published: Published) {
        let now_ns = nanoseconds(now.monotonic);
        let charges = self.meters.iter();
        let open_at_ns = charges
            .map(|meter| meter.charge(now_ns, published))
            .max()
            .unwrap_or(0);
        if open_at_ns <= now_ns {
            return;
        }
        let until = Duration::from_nanos(open_at_ns).max(now.monotonic + PAUSE_MIN);
        let wake_at = until.min(now.monotonic + RECHECK);
        self.wait = Some(Wait { until, wake_at });
    }

    /// Whether the connection has to wait.
    pub fn waits(&self) -> bool {
        self.wait.is_some()
    }

    /// When to call [`Self::handle_timeout`], in monotonic time.
    pub fn poll_deadline(&self) -> Option<Duration> {
        self.wait.map(|wait| wait.wake_at)
    }

    /// The deadline may be over.
    pub fn handle_timeout(&mut self, now: Now) {
        let Some(wait) = &mut self.wait else { return };
        if wait.until <= now.monotonic {
            self.wait = None;
        } else if wait.wake_at <= now.monotonic {
            wait.wake_at = wait.until.min(now.monotonic + RECHECK);
        }
    }

    /// Whether the connection waits for the first time under these limits.
    pub fn waits_first(&mut self) -> bool {
        self.wait.is_some() && !std::mem::replace(&mut self.has_waited, true)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{MetadataCommand, PasswordHash};
    use crate::limits::{UserLimits, VhostLimits};
    use crate::metadata::{DefaultUser, bootstrap_commands};

    fn metadata(vhost: PublishRates, user: PublishRates) -> Metadata {
        let mut metadata = Metadata::new(1);
        let hash = PasswordHash::new(b"u", [1; 4]);
        let mut commands =
            bootstrap_commands(DefaultUser::administrator("u".into(), hash, "/".into()));
        commands.push(MetadataCommand::SetVhostLimits {
            vhost: "/".into(),
            limits: VhostLimits {
                publish: vhost,
                ..VhostLimits::default()
            },
        });
        commands.push(MetadataCommand::SetUserLimits {
            user: "u".into(),
            limits: UserLimits {
                publish: user,
                ..UserLimits::default()
            },
        });
        for command in commands {
            metadata.apply(&command).unwrap();
        }
        metadata
    }

    fn of_vhost(rates: PublishRates) -> Metadata {
        metadata(rates, PublishRates::default())
    }

    fn throttle(shared: &SharedRates, metadata: &Metadata) -> Box<Throttle> {
        let throttle = shared.throttle(metadata, &"u".into(), &"/".into(), None);
        throttle.unwrap()
    }

    fn at(ms: u64) -> Now {
        Now {
            monotonic: Duration::from_millis(ms),
            ..Now::default()
        }
    }

    const ONE: Published = Published {
        messages: 1,
        bytes: 0,
    };

    /// Publishes one message after the other for as long, waiting when it has to; how many there were.
    fn publish_for(throttles: &mut [Box<Throttle>], from_ms: u64, ms: u64) -> u64 {
        let mut count = 0;
        for time in from_ms..from_ms + ms {
            for throttle in &mut *throttles {
                throttle.handle_timeout(at(time));
                while !throttle.waits() {
                    throttle.charge(at(time), ONE);
                    count += 1;
                }
            }
        }
        count
    }

    #[test]
    fn a_rate_holds_over_time_after_a_burst_of_one_second() {
        let metadata = of_vhost(PublishRates {
            messages: Some(1000),
            ..PublishRates::default()
        });
        let mut throttles = [throttle(&SharedRates::default(), &metadata)];
        let count = publish_for(&mut throttles, 5000, 10_000);
        assert!((10_990..=11_010).contains(&count), "{count}");
    }

    #[test]
    fn connections_of_a_vhost_share_its_rate_and_each_has_its_own() {
        let shared = SharedRates::default();
        let rates = PublishRates {
            messages: Some(1000),
            ..PublishRates::default()
        };
        let metadata = metadata(rates, rates);
        let mut throttles = [0; 4].map(|_| throttle(&shared, &metadata));
        let count = publish_for(&mut throttles, 5000, 10_000);
        assert!((10_990..=11_050).contains(&count), "{count}");
        let metadata = of_vhost(PublishRates {
            connection_messages: Some(100),
            ..PublishRates::default()
        });
        let mut throttles = [0; 4].map(|_| throttle(&shared, &metadata));
        let count = publish_for(&mut throttles, 5000, 10_000);
        assert!((4390..=4420).contains(&count), "{count}");
    }

    #[test]
    fn a_large_message_is_paid_for_afterwards() {
        let metadata = of_vhost(PublishRates {
            bytes: Some(1000),
            ..PublishRates::default()
        });
        let mut throttle = throttle(&SharedRates::default(), &metadata);
        let large = Published {
            messages: 1,
            bytes: 5000,
        };
        throttle.charge(at(0), large);
        assert!(throttle.waits());
        assert!(throttle.waits_first());
        assert!(!throttle.waits_first());
        // Meanwhile the limits are looked at again and again.
        assert_eq!(throttle.poll_deadline(), Some(RECHECK));
        throttle.handle_timeout(at(500));
        assert_eq!(throttle.poll_deadline(), Some(2 * RECHECK));
        throttle.handle_timeout(at(3999));
        assert!(throttle.waits());
        throttle.handle_timeout(at(4000));
        assert!(!throttle.waits());
        assert_eq!(throttle.poll_deadline(), None);
    }

    #[test]
    fn who_publishes_nothing_does_not_wait_for_others() {
        let shared = SharedRates::default();
        let metadata = of_vhost(PublishRates {
            messages: Some(0),
            ..PublishRates::default()
        });
        let mut publisher = throttle(&shared, &metadata);
        let mut consumer = throttle(&shared, &metadata);
        publisher.charge(at(0), ONE);
        consumer.charge(at(0), Published::default());
        assert!(publisher.waits() && !consumer.waits());
        publisher.handle_timeout(at(1_000_000));
        assert!(publisher.waits(), "a rate of 0 allows nothing");
    }

    #[test]
    fn a_new_limit_begins_with_a_full_bucket_and_the_same_one_goes_on() {
        let shared = SharedRates::default();
        let rates = |messages| PublishRates {
            messages: Some(messages),
            connection_messages: Some(1),
            ..PublishRates::default()
        };
        let (slow, fast) = (of_vhost(rates(1)), of_vhost(rates(1000)));
        let mut first = throttle(&shared, &slow);
        let many = Published {
            messages: 100,
            bytes: 0,
        };
        first.charge(at(0), many);
        let [user, vhost] = ["u", "/"].map(Name::from);
        let mut same = shared.throttle(&slow, &user, &vhost, Some(&first)).unwrap();
        same.charge(at(50_000), ONE);
        assert!(same.waits());
        let mut other = throttle(&shared, &fast);
        other.charge(at(50_000), ONE);
        assert!(!other.waits());
        let none = of_vhost(PublishRates {
            messages: Some(-1),
            ..PublishRates::default()
        });
        assert!(
            shared
                .throttle(&none, &user, &vhost, Some(&first))
                .is_none()
        );
    }
}
