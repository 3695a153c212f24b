//! Ten thousand events of clients on every way to the user's code: each is handled, each ack matches, in the order of its client; and what is left
//! of that when workers, gateways and the broker are killed on the way.

mod book;
mod counting;
mod kills;
mod volume;
