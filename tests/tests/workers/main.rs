//! Workers on each broker: those in Python that are given to users, and the Rust one.

mod python;
mod rust;
mod scene;
