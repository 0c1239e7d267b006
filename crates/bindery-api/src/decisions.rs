//! The one door to decisions: what a request asks is decided here, and counted.

use bindery_core::decision::Question;
use bindery_core::explain::Explanation;

use crate::call::{Asking, Call};

impl Call {
    /// This request, as the decisions see it.
    pub(crate) fn asking(&self) -> Asking<'_> {
        Asking {
            account: &self.account,
            state: &self.state,
            aliases: &self.services.aliases,
            counts: &self.services.counts,
            context: self.context(),
        }
    }
}

impl Asking<'_> {
    /// Decides one question.
    pub(crate) fn allows(&self, question: &Question) -> bool {
        let is_allowed = self.account.allows(self.state, question, self.context.now);
        self.counts.decided(1, is_allowed.into());
        is_allowed
    }

    /// Decides questions at one revision, in their order.
    pub(crate) fn allows_many(&self, questions: &[Question]) -> Vec<bool> {
        let mut answers = Vec::with_capacity(questions.len());
        self.account
            .allows_many(self.state, questions, self.context.now, &mut answers);
        let allowed = answers.iter().filter(|is_allowed| **is_allowed).count();
        self.counts.decided(answers.len(), allowed);
        answers
    }

    /// Decides one question with its reasons, as far as the caller may see them.
    pub(crate) fn explain(&self, question: &Question) -> Explanation {
        let explanation = self.state.explain_to(&self.context, question);
        self.counts.decided(1, explanation.is_allowed().into());
        explanation
    }
}
