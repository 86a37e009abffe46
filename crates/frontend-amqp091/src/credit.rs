//! The credit of one channel: how much it may have published to each queue that the queue has not yet taken.
//!
//! A channel spends credit with each message and asks for it back in parts, behind the messages, so that the answer says that the
//! queue has come that far. A queue that is busy answers later. A channel that has spent all its credit with some queue
//! publishes nothing until half of that is back; its other methods, other channels and what its consumers settle go on.
//!
//! Limit: [`ACCOUNTS_MAX`] queues; for others only the node's limits hold.

use base::{QueueId, QueueRef};
use broker::command::{MESSAGE_COST_BYTES, Spent};
use hashbrown::HashMap;

/// What a channel may have on the way to one queue.
pub(crate) const CREDIT_BYTES: u64 = 1 << 20;
/// It asks for credit when it has spent that much.
const ASK_BYTES: u32 = 128 << 10;
/// Queues that a channel keeps account of; those it owes nothing are forgotten first.
const ACCOUNTS_MAX: usize = 4096;

/// A queue to publish to, and where the channel keeps its account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) queue: QueueRef,
    account: u32,
}

/// The account of no queue.
const NO_ACCOUNT: u32 = u32::MAX;

/// What a channel spent on one queue.
#[derive(Clone, Copy, Debug)]
struct Account {
    queue: QueueId,
    /// It has not asked for that yet.
    unasked: Spent,
    /// It has asked for that.
    asked_bytes: u64,
    is_exhausted: bool,
}

/// The accounts of one channel.
#[derive(Debug, Default)]
pub(crate) struct Credits {
    accounts: Vec<Account>,
    index: HashMap<QueueId, u32, foldhash::fast::FixedState>,
    exhausted: usize,
}

impl Credits {
    /// Whether the channel may publish.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.exhausted == 0
    }

    /// The queue with its account.
    pub(crate) fn target(&mut self, queue: QueueRef) -> Target {
        let account = match self.index.get(&queue.id) {
            Some(account) => *account,
            None => self.open_account(queue.id),
        };
        Target { queue, account }
    }

    fn open_account(&mut self, queue: QueueId) -> u32 {
        if self.accounts.len() >= ACCOUNTS_MAX {
            return NO_ACCOUNT;
        }
        let account = u32::try_from(self.accounts.len()).unwrap_or(NO_ACCOUNT);
        self.accounts.push(Account {
            queue,
            unasked: Spent::default(),
            asked_bytes: 0,
            is_exhausted: false,
        });
        self.index.insert(queue, account);
        account
    }

    /// Makes room if there is none. No [`Target`] may be used after this.
    pub(crate) fn forget_settled(&mut self) {
        if self.accounts.len() < ACCOUNTS_MAX {
            return;
        }
        self.accounts.retain(|account| account.asked_bytes > 0);
        self.index = (0..)
            .zip(&self.accounts)
            .map(|(index, account)| (account.queue, index))
            .collect();
    }

    /// Pays for a message. Returned is what to ask the queue for, behind the message.
    #[inline]
    pub(crate) fn spend(&mut self, target: Target, bytes: u32) -> Option<Spent> {
        let account = self.accounts.get_mut(target.account as usize)?;
        account.unasked.bytes = account.unasked.bytes.saturating_add(bytes);
        account.unasked.messages += 1;
        if account.unasked.bytes < ASK_BYTES {
            return None;
        }
        Some(self.ask(target.account))
    }

    #[cold]
    fn ask(&mut self, account: u32) -> Spent {
        let account = &mut self.accounts[account as usize];
        let spent = std::mem::take(&mut account.unasked);
        account.asked_bytes += u64::from(spent.bytes);
        if account.asked_bytes >= CREDIT_BYTES && !account.is_exhausted {
            account.is_exhausted = true;
            self.exhausted += 1;
        }
        spent
    }

    /// The queue gives credit back.
    pub(crate) fn earn(&mut self, queue: QueueId, bytes: u32) {
        let Some(account) = self.index.get(&queue) else {
            return;
        };
        let account = &mut self.accounts[*account as usize];
        account.asked_bytes = account.asked_bytes.saturating_sub(u64::from(bytes));
        if account.is_exhausted && account.asked_bytes <= CREDIT_BYTES / 2 {
            account.is_exhausted = false;
            self.exhausted -= 1;
        }
    }
}

/// What a message of this size costs.
#[inline]
pub(crate) fn cost(size_bytes: usize) -> u32 {
    u32::try_from(size_bytes + MESSAGE_COST_BYTES).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::ShardId;

    fn queue(id: u64) -> QueueRef {
        QueueRef {
            id: QueueId(id),
            shard: ShardId(0),
        }
    }

    #[test]
    fn a_channel_asks_in_parts_and_stops_when_all_is_spent() {
        let mut credits = Credits::default();
        let (one, other) = (credits.target(queue(1)), credits.target(queue(2)));
        let part = Spent {
            bytes: ASK_BYTES,
            messages: 2,
        };
        let mut asked = 0;
        while credits.is_open() {
            assert_eq!(credits.spend(one, ASK_BYTES / 2), None);
            assert_eq!(credits.spend(one, ASK_BYTES / 2), Some(part));
            asked += u64::from(ASK_BYTES);
        }
        assert_eq!(asked, CREDIT_BYTES);
        credits.earn(other.queue.id, ASK_BYTES);
        for _ in 0..CREDIT_BYTES / 2 / u64::from(ASK_BYTES) {
            assert!(!credits.is_open());
            credits.earn(one.queue.id, ASK_BYTES);
        }
        assert!(credits.is_open());
    }

    #[test]
    fn a_message_larger_than_all_credit_is_paid_for_alone() {
        let mut credits = Credits::default();
        let target = credits.target(queue(1));
        assert!(credits.spend(target, 1 << 30).is_some());
        assert!(!credits.is_open());
        credits.earn(target.queue.id, 1 << 30);
        assert!(credits.is_open());
    }

    #[test]
    fn accounts_are_limited_and_only_debtors_are_remembered() {
        let mut credits = Credits::default();
        let debtor = credits.target(queue(u64::MAX));
        credits.spend(debtor, ASK_BYTES);
        for id in 0..2 * ACCOUNTS_MAX as u64 {
            let target = credits.target(queue(id));
            credits.spend(target, 1);
        }
        assert_eq!(credits.accounts.len(), ACCOUNTS_MAX);
        let stranger = credits.target(queue(u64::MAX - 1));
        assert_eq!(credits.spend(stranger, u32::MAX), None);
        credits.forget_settled();
        assert_eq!(credits.accounts.len(), 1);
        assert_eq!(credits.target(debtor.queue).account, 0);
    }
}
