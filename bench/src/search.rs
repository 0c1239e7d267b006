//! Where may this user, and who may here?

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bindery_core::decision::Question;
use bindery_core::id::{Id as _, ProjectId, UserId};
use bindery_core::permission::Permission;
use bindery_core::resource::{Level, Resource};

use crate::changes::NOW;
use crate::random::Random;
use crate::row::{Goal, Row, Unit};
use crate::setting::Setting;
use crate::time::{Latencies, Samples};

const ROUNDS: usize = 15;
/// Searches in a round.
const SEARCHES: usize = 200;
/// Searches whose results are compared with a check of everything there is.
const CHECKED: usize = 3;
const PERMISSION: Permission = Permission::ProjectRead;

pub(crate) fn rows(setting: &Setting) -> Result<Vec<Row>> {
    check(setting)?;
    let projects = {
        let mut found = Vec::new();
        measure(setting, "projects of a user", |random| {
            let asked = &setting.questions[random.below(1 << 16) as usize];
            let user = asked.question.principal;
            let index = &setting.index;
            let made = index.resources_of(user, PERMISSION, Level::Project, NOW, &mut found);
            made.map(|_| found.len())
        })?
    };
    let users = {
        let mut found = Vec::new();
        measure(setting, "users of a project", |random| {
            let project = Resource::Project(project(setting, random));
            let made = setting.index.users_of(project, PERMISSION, NOW, &mut found);
            made.map(|_| found.len())
        })?
    };
    Ok(vec![projects, users])
}

fn measure(
    setting: &Setting,
    what: &str,
    mut search: impl FnMut(&mut Random) -> Option<usize>,
) -> Result<Row> {
    let random = &mut Random::new(13);
    let (mut per_result, mut searches, mut results) = (Samples::default(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let (mut nanos, mut found) = (0.0, 0);
        for _ in 0..SEARCHES {
            let begun = Instant::now();
            found += search(random).context("a search without an answer")?;
            let taken = begun.elapsed().as_nanos() as f64;
            nanos += taken;
            searches.push(taken);
        }
        per_result.push(nanos / found as f64);
        results += found;
    }
    let mean = results / (ROUNDS * SEARCHES);
    let mut searches = Latencies::from_nanos(searches);
    let (p50, p99) = (searches.quantile(0.5) / 1e3, searches.quantile(0.99) / 1e3);
    Ok(Row {
        what: format!("{what}, for each result, at a pinned revision"),
        measured: per_result.median(),
        unit: Unit::Nanoseconds,
        goal: setting.world.size.at_large(Goal::AtMost(20.0)),
        from: format!("{mean} results on average; a search p50 {p50:.1} us, p99 {p99:.1} us"),
    })
}

fn project(setting: &Setting, random: &mut Random) -> ProjectId {
    ProjectId::new(random.below(setting.world.size.projects()) + 1)
}

/// What is found is what checks allow.
fn check(setting: &Setting) -> Result<()> {
    let random = &mut Random::new(17);
    let index = &setting.index;
    let is_allowed = |principal: UserId, resource: Resource| {
        let question = Question {
            principal,
            permission: PERMISSION,
            resource,
        };
        let decided = index.decide(&question, NOW);
        decided.is_some_and(|(decision, _)| decision.is_allowed())
    };
    for _ in 0..CHECKED {
        let user = UserId::new(random.below(setting.world.size.users()) + 1);
        let mut found = Vec::new();
        index
            .resources_of(user, PERMISSION, Level::Project, NOW, &mut found)
            .context("a search without an answer")?;
        let all = (1..=setting.world.size.projects()).map(ProjectId::new);
        let allowed = all
            .map(Resource::Project)
            .filter(|project| is_allowed(user, *project));
        ensure!(
            found.len() == BTreeSet::from_iter(&found).len()
                && found.into_iter().collect::<BTreeSet<_>>() == allowed.collect(),
            "the projects of user {} are wrong",
            user.number()
        );

        let project = Resource::Project(project(setting, random));
        let mut found = Vec::new();
        index
            .users_of(project, PERMISSION, NOW, &mut found)
            .context("a search without an answer")?;
        let all = (1..=setting.world.size.users()).map(UserId::new);
        let allowed = all.filter(|user| is_allowed(*user, project));
        ensure!(
            found.len() == BTreeSet::from_iter(&found).len()
                && found.into_iter().collect::<BTreeSet<_>>() == allowed.collect(),
            "the users of {project:?} are wrong"
        );
    }
    Ok(())
}
