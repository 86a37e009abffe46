//! Tests of the store as a whole: crashes, damage, full and failing disks, and the threads.

mod crash;
mod damage;
mod faults;
mod harness;
mod kept;
mod tails;
mod threads;
