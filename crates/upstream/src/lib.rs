//! Servers behind the edge: connections to them, which of them is chosen, whether they are healthy, when to try again.
