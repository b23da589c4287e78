//! What there is to know of a process: its mappings, whose service it is, where its thread context lies.

mod context;
mod elf;
mod identity;
mod maps;
mod memory;
mod modules;
mod table;
mod thread_context;

pub use context::read_context;
pub use elf::{Elf, Placed, Section, function_offset};
pub use identity::{Identity, identify};
pub use maps::{Mapping, read_mappings};
pub use memory::Memory;
pub use modules::{ANONYMOUS, KERNEL, Module, ModuleId, Modules, SYSCALL};
pub use table::{Facts, Table};
pub use thread_context::find_thread_context;
