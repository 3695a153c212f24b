//! The user's code in the gateway, from outside: what it is asked, what its clients see of it, who gets in.

mod around;
mod connecting;
mod errors;
mod handlers;
mod issuer;
mod jobs;
mod methods;
mod order;
mod routes;
mod scene;
mod server_side;
mod servers;
mod sessions;
mod talk;
mod tokens;
mod users;
