//! A simulated disk for crash tests, here and in the crates above.

use crate::disk::{Disk, DiskFile};
use parking_lot::Mutex;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SECTOR: usize = 512;

/// SplitMix64: small, seeded, the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator whose numbers follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        let value = crate::format::mix(self.0);
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        value
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What of the unsynced operations a power cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    None,
    /// Everything.
    All,
    /// Each sector and each directory entry by chance.
    Random,
    /// Everything, but the last write of each file is cut at a sector.
    TornLast,
    /// Only the last write of each file, and the directory entries.
    LastOnly,
}

impl Survival {
    /// All modes.
    pub const ALL: [Self; 5] = [
        Self::None,
        Self::All,
        Self::Random,
        Self::TornLast,
        Self::LastOnly,
    ];
}

#[derive(Clone, Debug)]
enum FileOp {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl FileOp {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                if content.len() < offset + bytes.len() {
                    content.resize(offset + bytes.len(), 0);
                }
                content[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Self::SetLen(len) => content.resize(*len, 0),
        }
    }
}

#[derive(Clone, Debug)]
enum DirOp {
    Link {
        name: PathBuf,
        inode: usize,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        inode: usize,
    },
    Unlink {
        name: PathBuf,
    },
}

impl DirOp {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Link { name, inode } => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
            Self::Unlink { name } => {
                names.remove(name);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<FileOp>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<DirOp>,
    locks: BTreeSet<PathBuf>,
    /// Counts crashes, so that handles from before one are dead.
    life: u64,
    operations: u64,
    crash_at: Option<u64>,
    crashed: bool,
    syncs: u64,
    fail_sync_at: Option<u64>,
    fail_operation_at: Option<u64>,
    /// Bytes all files together may have.
    capacity: Option<u64>,
}

/// A disk in memory that knows what would survive a power cut, and fails when told to.
#[derive(Clone, Debug, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

struct SimFile {
    disk: SimDisk,
    inode: usize,
    life: u64,
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    life: u64,
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changing operations so far.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Cuts the power when `operations` more changing operations have been done: from then on everything fails.
    pub fn crash_after(&self, operations: u64) {
        let mut state = self.0.lock();
        state.crash_at = Some(state.operations + operations);
    }

    /// Whether the power is cut.
    pub fn is_crashed(&self) -> bool {
        self.0.lock().crashed
    }

    /// Lets the `n`-th sync of file content from now (1 is the next) fail with EIO; what it should have made durable is lost.
    pub fn fail_sync(&self, n: u64) {
        let mut state = self.0.lock();
        state.fail_sync_at = Some(state.syncs + n);
    }

    /// Lets the `n`-th changing operation from now (1 is the next) fail with EIO, once.
    pub fn fail_operation(&self, n: u64) {
        let mut state = self.0.lock();
        state.fail_operation_at = Some(state.operations + n);
    }

    /// Limits the bytes of all files together.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    /// Bytes of all files together.
    pub fn used(&self) -> u64 {
        self.0.lock().used()
    }

    /// Cuts the power, if it is not cut yet, and starts again with what `survival` leaves.
    pub fn crash(&self, survival: Survival, random: &mut Random) {
        let mut state = self.0.lock();
        let state = &mut *state;
        for inode in &mut state.inodes {
            survive_file(inode, survival, random);
        }
        for op in state.pending_names.drain(..) {
            let survives = match survival {
                Survival::None => false,
                Survival::Random => random.one_in(2),
                Survival::All | Survival::TornLast | Survival::LastOnly => true,
            };
            if survives {
                op.apply(&mut state.durable_names);
            }
        }
        state.names = state.durable_names.clone();
        state.locks.clear();
        state.life += 1;
        (
            state.crashed,
            state.crash_at,
            state.fail_sync_at,
            state.fail_operation_at,
        ) = (false, None, None, None);
    }

    /// A copy of the disk as it is now, without what is unsynced being lost.
    pub fn copy(&self) -> Self {
        let state = self.0.lock();
        let mut copy = State::default();
        for (name, inode) in &state.names {
            let current = state.inodes[*inode].current.clone();
            copy.names.insert(name.clone(), copy.inodes.len());
            copy.inodes.push(Inode {
                durable: current.clone(),
                current,
                pending: Vec::new(),
            });
        }
        copy.durable_names = copy.names.clone();
        Self(Arc::new(Mutex::new(copy)))
    }

    /// Names and sizes of all files.
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        let state = self.0.lock();
        state
            .names
            .iter()
            .map(|(name, inode)| (name.clone(), state.inodes[*inode].current.len()))
            .collect()
    }

    /// Changes bytes of a file where they lie, as a failing disk would.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock();
        if let Some(inode) = state.names.get(path).copied() {
            let inode = &mut state.inodes[inode];
            change(&mut inode.current);
            inode.durable = inode.current.clone();
            inode.pending.clear();
        }
    }
}

fn survive_file(inode: &mut Inode, survival: Survival, random: &mut Random) {
    let count = inode.pending.len();
    for (number, op) in std::mem::take(&mut inode.pending).into_iter().enumerate() {
        let is_last = number + 1 == count;
        match (survival, op) {
            (Survival::None, _) => {}
            (Survival::All, op) => op.apply(&mut inode.durable),
            (Survival::LastOnly, op) => {
                if is_last {
                    op.apply(&mut inode.durable);
                }
            }
            (Survival::TornLast, FileOp::Write { offset, bytes }) if is_last => {
                let cut = random.below(bytes.len() as u64 + 1) as usize / SECTOR * SECTOR;
                FileOp::Write {
                    offset,
                    bytes: bytes[..cut].to_vec(),
                }
                .apply(&mut inode.durable);
            }
            (Survival::TornLast, op) => op.apply(&mut inode.durable),
            (Survival::Random, FileOp::Write { offset, bytes }) => {
                let mut at = 0;
                while at < bytes.len() {
                    // Sectors are cut where the file's sectors are.
                    let end = (at + SECTOR - (offset + at) % SECTOR).min(bytes.len());
                    if random.one_in(2) {
                        let piece = FileOp::Write {
                            offset: offset + at,
                            bytes: bytes[at..end].to_vec(),
                        };
                        piece.apply(&mut inode.durable);
                    }
                    at = end;
                }
            }
            (Survival::Random, op) => {
                if random.one_in(2) {
                    op.apply(&mut inode.durable);
                }
            }
        }
    }
    inode.current = inode.durable.clone();
}

impl State {
    fn check(&self) -> io::Result<()> {
        if self.crashed {
            Err(io::Error::other("the power is cut"))
        } else {
            Ok(())
        }
    }

    /// Counts a changing operation.
    fn operate(&mut self) -> io::Result<()> {
        self.check()?;
        if self.crash_at.is_some_and(|at| self.operations >= at) {
            self.crashed = true;
            return self.check();
        }
        self.operations += 1;
        if self.fail_operation_at == Some(self.operations) {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }

    fn used(&self) -> u64 {
        self.names
            .values()
            .map(|inode| self.inodes[*inode].current.len() as u64)
            .sum()
    }

    fn grow(&self, inode: usize, len: usize) -> io::Result<()> {
        let more = len.saturating_sub(self.inodes[inode].current.len()) as u64;
        if more > 0
            && self
                .capacity
                .is_some_and(|capacity| self.used() + more > capacity)
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn change(&mut self, inode: usize, op: FileOp) {
        let inode = &mut self.inodes[inode];
        op.apply(&mut inode.current);
        inode.pending.push(op);
    }

    fn change_names(&mut self, op: DirOp) {
        op.apply(&mut self.names);
        self.pending_names.push(op);
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl SimDisk {
    fn file(&self, state: &State, inode: usize) -> Arc<dyn DiskFile> {
        Arc::new(SimFile {
            disk: self.clone(),
            inode,
            life: state.life,
        })
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        self.0.lock().check()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut state = self.0.lock();
        state.check()?;
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock {
            disk: self.clone(),
            path: path.to_owned(),
            life: state.life,
        }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.operate()?;
        let inode = match state.find(path) {
            Ok(inode) => {
                state.change(inode, FileOp::SetLen(0));
                inode
            }
            Err(_) => {
                let inode = state.inodes.len();
                state.inodes.push(Inode::default());
                state.change_names(DirOp::Link {
                    name: path.to_owned(),
                    inode,
                });
                inode
            }
        };
        Ok(self.file(&state, inode))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.0.lock();
        state.check()?;
        Ok(self.file(&state, state.find(path)?))
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operate()?;
        state.pending_names.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operate()?;
        let inode = state.find(from)?;
        state.change_names(DirOp::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
            inode,
        });
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operate()?;
        state.find(path)?;
        state.change_names(DirOp::Unlink {
            name: path.to_owned(),
        });
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        state.check()?;
        let names = state
            .names
            .keys()
            .filter(|name| name.parent() == Some(path));
        Ok(names
            .filter_map(|name| Some(name.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn free_space(&self, _path: &Path) -> io::Result<u64> {
        let state = self.0.lock();
        Ok(state
            .capacity
            .map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())))
    }
}

impl SimFile {
    fn operate(&self, run: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        if state.life != self.life {
            return Err(io::Error::other("the file was opened before the power cut"));
        }
        state.operate()?;
        run(&mut state)
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.operate(|state| {
            let offset = offset as usize;
            state.grow(self.inode, offset + bytes.len())?;
            state.change(
                self.inode,
                FileOp::Write {
                    offset,
                    bytes: bytes.to_vec(),
                },
            );
            Ok(())
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.0.lock();
        state.check()?;
        let content = &state.inodes[self.inode].current;
        let from = (offset as usize).min(content.len());
        let count = buffer.len().min(content.len() - from);
        buffer[..count].copy_from_slice(&content[from..from + count]);
        Ok(count)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.operate(|state| {
            let len = len as usize;
            state.grow(self.inode, len)?;
            if state.inodes[self.inode].current.len() < len {
                state.change(self.inode, FileOp::SetLen(len));
            }
            Ok(())
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.operate(|state| {
            state.change(self.inode, FileOp::SetLen(len as usize));
            Ok(())
        })
    }

    fn datasync(&self) -> io::Result<()> {
        self.operate(|state| {
            state.syncs += 1;
            let fails = state.fail_sync_at == Some(state.syncs);
            let inode = &mut state.inodes[self.inode];
            inode.pending.clear();
            if fails {
                // As a real kernel does: the pages count as clean now, and the next sync will say that all is well.
                return Err(io::Error::from_raw_os_error(5));
            }
            inode.durable = inode.current.clone();
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.0.lock();
        state.check()?;
        Ok(state.inodes[self.inode].current.len() as u64)
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.0.lock();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}
