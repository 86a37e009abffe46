//! The load generator as a program of its own: `cargo run --release -p perf --example perf -- --help`.

fn main() -> anyhow::Result<()> {
    perf::run(std::env::args_os())
}
