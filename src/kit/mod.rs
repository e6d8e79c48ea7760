//! What platforms are made of: the parts that each of them would otherwise write for itself. It knows tools;
//! no platform and no server.

pub mod args;
