//! What handlers use besides the account of a request.

use std::sync::Arc;

use bindery_node::{ExecuteError, Node};

use crate::aliases::Aliases;
use crate::attempts::Attempts;
use crate::counts::Counts;
use crate::kept_searches::KeptSearches;
use crate::mail::Mailer;
use crate::password::Passwords;
use crate::problem::Problem;
use crate::turns::Turnstile;
use crate::workers::Workers;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) node: Arc<Node>,
    pub(crate) mailer: Mailer,
    pub(crate) passwords: Passwords,
    pub(crate) attempts: Attempts,
    pub(crate) aliases: Aliases,
    pub(crate) searches: KeptSearches,
    pub(crate) counts: Arc<Counts>,
    /// Run long requests, apart from the connection threads.
    pub(crate) workers: Workers,
    /// Turns to send a large body.
    pub(crate) bodies: Turnstile,
    /// Requests that wait for a revision.
    pub(crate) revision_waits: Turnstile,
}

impl Services {
    /// The problem for a failed command; counts refusals.
    pub(crate) fn problem(&self, error: ExecuteError) -> Problem {
        let is_refused = matches!(error, ExecuteError::Refused(_));
        let problem = Problem::from(error);
        if is_refused {
            self.counts.refused(problem.status());
        }
        problem
    }
}
