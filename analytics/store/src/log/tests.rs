//! The log's promises: what is appended is read, in order, once; a crash loses nothing that was acked.
