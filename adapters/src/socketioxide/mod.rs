//! socketioxide
