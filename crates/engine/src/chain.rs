//! What a client's request may set off: a budget that all workers share that call one another on its behalf.
//!
//! The host counts for itself, so that a worker learns at once that it has reached its limit. The engine counts what
//! arrives, so that neither a host that lies nor a worker that calls itself many times over gets more.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use selvedge_model::Worker;

/// Most workers that may call one another in a row.
const DEPTH_MAX: u8 = 16;
/// Most calls of workers by workers that one request may set off; as many as on Cloudflare Workers.
const INVOCATIONS_MAX: u32 = 32;

#[derive(Debug)]
struct Budget {
    /// What the limits of the worker that was asked first allow.
    most: u32,
    subrequests: Cell<u32>,
    invocations: Cell<u32>,
}

/// A call's place in the chain that began with a request.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Who is called.
    pub worker: Arc<Worker>,
    budget: Rc<Budget>,
    /// How many workers called one another on the way here.
    depth: u8,
}

impl Chain {
    /// The chain of a request to a worker, by whose limit of subrequests it goes.
    pub fn new(worker: &Arc<Worker>) -> Self {
        let subrequests = worker.limits.subrequests;
        let budget = Budget {
            most: subrequests,
            subrequests: Cell::new(subrequests),
            invocations: Cell::new(INVOCATIONS_MAX),
        };
        Self { worker: worker.clone(), budget: Rc::new(budget), depth: 0 }
    }

    /// Subrequests that are left for all of it.
    pub fn left(&self) -> u32 {
        self.budget.subrequests.get()
    }

    /// Takes one subrequest, or says why there is none.
    pub fn spend(&self) -> Result<(), &'static str> {
        let left = self.budget.subrequests.get().checked_sub(1);
        let left =
            left.ok_or("The request that this call belongs to has reached its limit of subrequests.")?;
        self.budget.subrequests.set(left);
        Ok(())
    }

    /// The place of another worker that is called from here, or why it cannot be.
    pub fn deeper(&self, worker: &Arc<Worker>) -> Result<Self, String> {
        if self.depth >= DEPTH_MAX {
            return Err(format!(
                "More than {DEPTH_MAX} workers called one another in a row; is there a loop?"
            ));
        }
        let Some(left) = self.budget.invocations.get().checked_sub(1) else {
            return Err(format!(
                "The request that this call belongs to has set off {INVOCATIONS_MAX} calls of workers, which is the most it may."
            ));
        };
        self.budget.invocations.set(left);
        Ok(Self { worker: worker.clone(), budget: self.budget.clone(), depth: self.depth + 1 })
    }

    /// A message of a WebSocket is work of its own, with what a request may use; earlier ones may wait for their turn yet.
    pub fn refill(&self) {
        let Budget { most, subrequests, invocations } = &*self.budget;
        subrequests.set(subrequests.get().saturating_add(*most));
        invocations.set(invocations.get().saturating_add(INVOCATIONS_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selvedge_model::Limits;

    fn worker(subrequests: u32) -> Arc<Worker> {
        let limits = Limits { subrequests, ..Limits::default() };
        Arc::new(Worker { limits, ..crate::testing::worker("w") })
    }

    #[test]
    fn all_of_a_chain_share_one_budget() {
        let (own, callee) = (worker(3), worker(1000));
        let first = Chain::new(&own);
        let (a, b) = (first.deeper(&callee).unwrap(), first.deeper(&own).unwrap());
        assert!(a.spend().is_ok() && b.spend().is_ok() && a.deeper(&own).unwrap().spend().is_ok());
        assert!(first.spend().is_err() && a.spend().is_err() && b.spend().is_err());
        assert_eq!(first.left(), 0);
        b.refill();
        assert_eq!(a.left(), 3);
        assert_eq!(Chain::new(&own).left(), 3, "another request has its own");
    }

    #[test]
    fn calls_are_bounded_in_depth_and_number() {
        let worker = worker(1);
        let mut deep = Chain::new(&worker);
        for _ in 0..DEPTH_MAX {
            deep = deep.deeper(&worker).unwrap();
        }
        assert!(deep.deeper(&worker).unwrap_err().contains("in a row"));
        let first = Chain::new(&worker);
        assert_eq!((0..100).filter(|_| first.deeper(&worker).is_ok()).count() as u32, INVOCATIONS_MAX);
    }
}
