//! The lab: what tests above unit level share. Nothing here runs in production.

pub mod cases;
pub mod certificate;
pub mod feed;
pub mod fleet;
pub mod head;
pub mod load;
pub mod place;
pub mod server;
