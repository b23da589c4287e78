//! Exports the variable from this package's own programs. What a library's build script says does not
//! reach the programs of others: they say the same line in their own (see the README).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-link-arg=-Wl,--export-dynamic-symbol=otel_thread_ctx_v1");
    }
}
