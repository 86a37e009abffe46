//! Whether clients may come in: listeners that are closed and opened again while the node runs, for maintenance.
//!
//! Each listener is a task of its own ([`crate::listener::accept`]) that holds a [`Door`]; whoever wants them closed waits until the
//! last one is. Nothing here touches connections that are there.

use tokio::sync::watch;

/// All listeners of a node.
#[derive(Debug)]
pub(crate) struct Doors {
    /// Whether they are to be open.
    wanted: watch::Sender<bool>,
    /// How many there are, and how many of them are open.
    count: watch::Sender<Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: usize,
    open: usize,
}

impl Default for Doors {
    fn default() -> Self {
        Self {
            wanted: watch::Sender::new(true),
            count: watch::Sender::new(Count::default()),
        }
    }
}

impl Doors {
    /// The door of one listener, which is open.
    pub(crate) fn door(&self) -> Door {
        self.count.send_modify(|count| {
            count.all += 1;
            count.open += 1;
        });
        Door {
            wanted: self.wanted.subscribe(),
            count: self.count.clone(),
        }
    }

    /// Closes all listeners and waits until they are.
    pub(crate) async fn close(&self) {
        self.wanted.send_replace(false);
        self.settle(|count| count.open == 0).await;
    }

    /// Opens all listeners again and waits until they are.
    pub(crate) async fn open(&self) {
        self.wanted.send_replace(true);
        self.settle(|count| count.open == count.all).await;
    }

    async fn settle(&self, is_settled: impl FnMut(&Count) -> bool) {
        let mut counts = self.count.subscribe();
        // The sender is `self`.
        let _ = counts.wait_for(is_settled).await;
    }
}

/// The door of one listener.
#[derive(Debug)]
pub(crate) struct Door {
    wanted: watch::Receiver<bool>,
    count: watch::Sender<Count>,
}

impl Door {
    /// Waits until the listener has to be closed.
    pub(crate) async fn close_wanted(&mut self) {
        self.wait(false).await;
    }

    /// Waits until the listener may be open.
    pub(crate) async fn open_wanted(&mut self) {
        self.wait(true).await;
    }

    /// Says that the listener is open, or closed.
    pub(crate) fn is_now(&self, open: bool) {
        self.count.send_modify(|count| {
            count.open = if open {
                count.open + 1
            } else {
                count.open.saturating_sub(1)
            };
        });
    }

    async fn wait(&mut self, open: bool) {
        if self
            .wanted
            .wait_for(|wanted| *wanted == open)
            .await
            .is_err()
        {
            // The node has gone, and this task goes with it.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn closing_waits_for_the_last_listener() {
        // Looks once whether it is done.
        const AT_ONCE: Duration = Duration::ZERO;
        let doors = Doors::default();
        let mut first = doors.door();
        let second = doors.door();
        let close = doors.close();
        tokio::pin!(close);
        assert!(timeout(AT_ONCE, &mut close).await.is_err());
        first.close_wanted().await;
        first.is_now(false);
        assert!(timeout(AT_ONCE, &mut close).await.is_err());
        second.is_now(false);
        close.await;
        let open = doors.open();
        tokio::pin!(open);
        assert!(timeout(AT_ONCE, &mut open).await.is_err());
        first.open_wanted().await;
        first.is_now(true);
        second.is_now(true);
        open.await;
    }
}
