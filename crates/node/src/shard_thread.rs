//! The thread of one shard: mail, timers, and the end of it.

use crate::connection_driver::ShardDriver;
use crate::mailbox::Mail;
use crate::shard::Shard;
use crate::shared::Shared;
use base::{QueueId, ShardId};
use broker::queue::Stored;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long clients get to answer connection.close when the node stops.
const CLOSE_GRACE: Duration = Duration::from_secs(3);

/// What a shard tells the main thread.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ShardReport {
    /// All connections are closed and everything is in the log.
    Drained,
}

/// Runs a shard until it is told to stop. `histories` is dropped when the histories of exchanges are in memory again that this shard
/// reads.
///
/// # Errors
/// The operating system refuses the runtime its epoll instance.
pub(crate) fn run(
    id: ShardId,
    shared: &Arc<Shared>,
    stored: Vec<(QueueId, Stored)>,
    histories: Sender<()>,
    reports: &mpsc::UnboundedSender<ShardReport>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tasks = tokio::task::LocalSet::new();
    let shard = Shard::new(id, Arc::clone(shared), stored, histories);
    let driver = Rc::new(ShardDriver::new(id, Arc::clone(shared), shard));
    tasks.block_on(&runtime, main_task(&driver, reports));
    Ok(())
}

async fn main_task(driver: &Rc<ShardDriver>, reports: &mpsc::UnboundedSender<ShardReport>) {
    let shared = &driver.shared;
    let mailbox = &shared.mailboxes[driver.id.index()];
    let mut mail = Vec::new();
    let mut stopping: Option<Duration> = None;
    let mut drained = false;
    loop {
        let deadline = driver.shard.borrow().poll_deadline();
        let deadline = [deadline, stopping.filter(|_| !drained)]
            .into_iter()
            .flatten()
            .min();
        driver.armed.set(deadline);
        let timer = async {
            match deadline {
                Some(at) => tokio::time::sleep_until((shared.started + at).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = mailbox.wait() => {}
            () = driver.wake.notified() => {}
            () = timer => {}
        }
        mailbox.take(&mut mail);
        let now = shared.now();
        driver.shard.borrow_mut().handle_mail_start();
        for piece in mail.drain(..) {
            match piece {
                Mail::Socket(arrival) => {
                    if stopping.is_none() {
                        driver.adopt(*arrival);
                    } else {
                        shared.connection_counts[driver.id.index()].fetch_sub(1, Ordering::Relaxed);
                    }
                }
                Mail::Account { evict } => {
                    let mut shard = driver.shard.borrow_mut();
                    shard.set_memory_short(evict);
                    if evict {
                        (shared.release_memory)();
                    }
                    shared
                        .accountant
                        .set_shard(driver.id.index(), shard.memory());
                }
                Mail::Shutdown { reason } => {
                    stopping = Some(now.monotonic + CLOSE_GRACE);
                    driver
                        .shard
                        .borrow_mut()
                        .handle_mail(now, Mail::Shutdown { reason });
                }
                Mail::Stop => return,
                other @ (Mail::Queue { .. }
                | Mail::Reply { .. }
                | Mail::WindowCredit { .. }
                | Mail::WindowGone { .. }
                | Mail::Query(_)
                | Mail::QueueStart { .. }
                | Mail::QueueDeleted { .. }
                | Mail::PoliciesChanged { .. }
                | Mail::ConnectionsChanged
                | Mail::DelaysEnded(_)
                | Mail::ChangePrepared(_)
                | Mail::Store(_)
                | Mail::Alarms(_)) => driver.shard.borrow_mut().handle_mail(now, other),
            }
        }
        {
            let mut shard = driver.shard.borrow_mut();
            shard.handle_mail_end(now);
            shard.handle_timeout(now);
        }
        driver.finish_turn();
        if let Some(until) = stopping {
            let shard = driver.shard.borrow();
            let closed = shard.connection_count() == 0 || shared.now().monotonic >= until;
            if closed && shard.is_flushed() && !drained {
                drained = true;
                // The main thread may have given up waiting.
                let _ = reports.send(ShardReport::Drained);
            }
        }
    }
}
