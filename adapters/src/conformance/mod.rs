//! The behaviour every manager has to show.
