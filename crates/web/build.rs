//! What is embedded is what lies in `ui` when the crate is compiled, third-party modules included.

fn main() {
    println!("cargo::rerun-if-changed=ui");
}
