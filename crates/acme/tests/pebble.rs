//! Against `pebble`, the test authority of the people who make Let's Encrypt.

#[path = "pebble/ari.rs"]
mod ari;
#[path = "pebble/authority.rs"]
mod authority;
#[path = "pebble/demand.rs"]
mod demand;
#[path = "pebble/front.rs"]
mod front;
#[path = "pebble/issuers.rs"]
mod issuers;
#[path = "pebble/issuing.rs"]
mod issuing;
#[path = "pebble/site.rs"]
mod site;
