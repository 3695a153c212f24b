//! What clients, networks and handlers may do to a gateway: its memory stays bounded, nobody else notices, and every
//! handler runs exactly once.

mod floods;
mod garbage;
mod load;
mod order;
mod panics;
mod readers;
mod resets;
mod scene;
mod slow;
