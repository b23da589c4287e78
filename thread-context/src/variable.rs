//! The thread-local variable itself. Its name is what readers look for, so it cannot be an ordinary
//! `thread_local!`; the linker and the dynamic loader place it like any variable of C.

use std::ffi::c_void;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[allow(unsafe_code, reason = "only assembly can name a thread-local variable in stable Rust")]
mod symbol {
    // SAFETY: eight zeroed bytes per thread under a name that nothing else defines; no code.
    std::arch::global_asm!(
        ".pushsection .tbss.otel_thread_ctx_v1,\"awT\",@nobits",
        ".globl otel_thread_ctx_v1",
        ".type otel_thread_ctx_v1, @object",
        ".size otel_thread_ctx_v1, 8",
        ".p2align 3",
        "otel_thread_ctx_v1:",
        ".zero 8",
        ".popsection",
    );
}

/// Where this thread's variable is. The linker makes one addition of it in an executable; in a shared
/// object it is the call that readers expect (TLSDESC).
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[allow(unsafe_code, reason = "the only way to a variable with a given name and this model of access")]
#[inline(always)]
pub fn place() -> *mut *const c_void {
    let place: *mut *const c_void;
    // SAFETY: the sequence that the psABI gives for a thread-local variable; the resolver behind the call
    // changes nothing but rax and flags, and the result is the address of 8 aligned, zeroed bytes that
    // belong to this thread alone.
    unsafe {
        std::arch::asm!(
            "lea rax, [rip + otel_thread_ctx_v1@tlsdesc]",
            "call qword ptr [rax + otel_thread_ctx_v1@tlscall]",
            "add rax, qword ptr fs:[0]",
            out("rax") place,
            options(nomem),
        );
    }
    place
}

/// On other machines nobody reads it, but everything else works the same.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub fn place() -> *mut *const c_void {
    thread_local! {
        static VARIABLE: std::cell::Cell<*const c_void> = const { std::cell::Cell::new(std::ptr::null()) };
    }
    VARIABLE.with(std::cell::Cell::as_ptr)
}
