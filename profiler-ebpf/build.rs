//! Nothing is compiled here. Only the tests' own programs export the thread context.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-tests=-Wl,--export-dynamic-symbol=otel_thread_ctx_v1");
    println!("cargo:rustc-link-arg-benches=-Wl,--export-dynamic-symbol=otel_thread_ctx_v1");
}
